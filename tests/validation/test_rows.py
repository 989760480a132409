"""Files of measurements are read as they are, and bad ones answered in words."""

import gzip
from pathlib import Path

import pytest

from tests.validation.conftest import BERT, BMM, COMMON, KERNELS, MEDIANS, TIMM
from whichgpu.errors import MeasurementFileError
from whichgpu.validation import read_rows

MEASUREMENTS = Path(__file__).parents[3] / "shared" / "measurements"
# Rows of each file, as its README counts them.
COUNTS = {
    "timm": 22_234,
    "lambda_dedup": 1_164,
    "neusight_models": 46,
    "published": 1_459,
    "mlperf": 822,
    "memory": 222,
}


def test_a_run(write):
    (row,) = read_rows(write(COMMON, TIMM))
    assert (row.gpu, row.task, row.model, row.layout, row.compiled) == (
        "RTX 3090",
        "train",
        "timm:resnet18",
        "nchw",
        False,
    )
    assert row.step_s == pytest.approx(0.128)
    assert (row.batch_per_gpu, row.throughput, row.peak_memory_mib, row.line) == (256, 2000, None, 2)


def test_medians_of_runs(write):
    (row,) = read_rows(write(MEDIANS, BERT))
    assert (row.source, row.framework, row.task, row.step_s) == ("lambda", "pytorch", "train", None)
    assert (row.throughput, row.unit, row.peak_memory_mib) == (40, "seq/s", 30_000)


def test_a_kernel(write):
    (row,) = read_rows(write(KERNELS, BMM))
    assert (row.task, row.model, row.framework_version) == ("kernel", "bmm", "2.1.0")
    assert row.sizes == {"b": 8, "m": 128, "n": 64, "k": 256}
    assert row.step_s == pytest.approx(0.25e-3)


def test_a_zipped_file_is_the_same_file(write, tmp_path):
    plain = write(COMMON, TIMM, TIMM)
    zipped = tmp_path / "some.csv.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    assert [(r.line, r.gpu) for r in read_rows(zipped)] == [(r.line, r.gpu) for r in read_rows(plain)]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["gpu,model", "RTX 3090,timm:resnet18"], "its header lacks gpu_count, task"),
        ([COMMON, TIMM.replace("128.0", "fast")], "line 2: step_ms is 'fast'; expected a number"),
        ([COMMON, TIMM.replace("128.0", "inf")], "line 2: step_ms is 'inf'; expected a number"),
        ([COMMON, TIMM, "timm,x"], "line 3: 2 cells; its header has 21"),
        ([""], "its header lacks gpu"),
    ],
)
def test_bad_files_are_answered_in_words(write, lines, said):
    with pytest.raises(MeasurementFileError, match=said):
        list(read_rows(write(*lines)))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(MeasurementFileError, match="No such file"):
        list(read_rows(tmp_path / "none.csv"))
    with pytest.raises(MeasurementFileError, match="cannot be read"):
        list(read_rows(tmp_path))
    broken = tmp_path / "broken.csv.gz"
    broken.write_bytes(gzip.compress(COMMON.encode())[:-9])
    with pytest.raises(MeasurementFileError, match="broken gzip"):
        list(read_rows(broken))
    latin = tmp_path / "latin.csv"
    latin.write_bytes(b"gpu\xff\n")
    with pytest.raises(MeasurementFileError, match="UTF-8"):
        list(read_rows(latin))


@pytest.mark.parametrize("name", COUNTS)
def test_every_row_of_the_collected_files_is_read(name):
    path = MEASUREMENTS / f"{name}.csv.gz"
    if not path.exists():
        pytest.skip(f"the collected measurements are not at {path}")
    assert sum(1 for _ in read_rows(path)) == COUNTS[name]
