"""Calibration files as rows to fit to. The file here is synthetic test data, made by `synthetic.py`."""

import json
import math
from dataclasses import replace

import pytest
from benchmarks import calibration_rows
from benchmarks.calibration_rows import (
    calls,
    errors_by_section,
    host_times,
    load_calibrations,
    measured,
    offsets,
    predicted_s,
    steps,
)

from tests.validation.synthetic import FILE, GPU, NOTE, synthetic
from whichgpu.cost import efficiencies
from whichgpu.errors import SchemaError
from whichgpu.measure.calibration import calibration_from_document, calibration_to_document
from whichgpu.workloads import workload


@pytest.fixture(scope="module")
def kept():
    return calibration_from_document(json.loads(FILE.read_text(encoding="utf-8")))


def test_the_kept_file_says_that_it_is_made_up(kept):
    assert kept.notes == (NOTE,)
    assert FILE.stat().st_size < 60_000


def test_every_kernel_becomes_a_row_that_is_priced(kept):
    rows = list(calls(kept))
    assert {row.family for row in rows} == {
        "products",
        "bandwidth",
        "convolutions",
        "attention",
        "normalizations",
        "other",
    }
    for row in rows:
        assert row.device.name == GPU
        assert row.software == "2.11.0"
        assert predicted_s(row, efficiencies()) > 0
    tf32 = {row.job: row.precision for row in rows if row.job.endswith((", tf32", ", fp32"))}
    assert all(p.matmul_tf32 == p.convolution_tf32 == name.endswith("tf32") for name, p in tf32.items())


def test_whole_steps_become_rows_and_what_did_not_fit_does_not(kept):
    (step,) = steps(kept)
    assert (step.anchor.job, step.seconds, step.allocated_bytes) == ("mnist", 2e-3, 10**8)
    assert step.job == workload("mnist", batch=64)
    assert len(step.table.kernels) > 10


def test_the_hosts_times_are_those_of_single_things(kept):
    times = host_times(kept)
    assert times["add"] == 5e-6
    assert any(name.startswith("chain of 20") for name in times)


def test_noisy_and_cold_calls_say_nothing_of_the_device(kept):
    pytest.importorskip("torch")
    found = synthetic()
    assert len(list(calls(found))) < len(list(calls(found, cold=True)))
    first = next(r for r in kept.records if r.section == "products")
    noisy = replace(kept, records=[replace(r, noise=0.5) if r.name == first.name else r for r in kept.records])
    assert len(list(calls(noisy))) == len(list(calls(kept))) - 1


def test_what_the_model_made_it_predicts_but_for_the_noise():
    pytest.importorskip("torch")
    for name, errors in errors_by_section(synthetic(noise=0.05)).items():
        if name != "anchors":
            assert errors.mean_error < 0.08, name
            assert abs(errors.bias) < 0.05, name


@pytest.mark.parametrize("factor", [1.3, 0.7])
def test_a_device_that_is_slower_at_one_thing_is_found_out(factor):
    """Half-precision products of this made-up GPU take longer or shorter than the cost model says, and no others."""
    pytest.importorskip("torch")

    def slower(record):
        is_half = record.ops[0].name == "aten.mm.default" and record.ops[0].tensor("self").dtype == "float16"
        return factor if is_half else 1.0

    found = offsets(calls(synthetic(slower)), efficiencies())
    assert 1 / found["matmul", "float16"] == pytest.approx(factor, rel=0.05)
    others = {kind: ratio for kind, ratio in found.items() if kind != ("matmul", "float16")}
    assert len(others) > 8
    for kind, ratio in others.items():
        assert abs(math.log(ratio)) < 0.06, kind


def test_a_folder_of_files_is_read_in_order(tmp_path):
    for name in ("calibration.b.json", "calibration.a.json", "gpu-check.a.json"):
        (tmp_path / name).write_text(FILE.read_text() if name.startswith("cal") else "{}")
    assert [c.device for c in load_calibrations(tmp_path)] == [GPU, GPU]
    (tmp_path / "calibration.c.json").write_text('{"schema": "whichgpu.job/1"}')
    with pytest.raises(SchemaError):
        list(load_calibrations(tmp_path))


def test_the_command_prints_errors_by_section(capsys):
    calibration_rows.main(str(FILE))
    out = capsys.readouterr().out
    assert "| products |" in out
    assert "| matmul | float16 |" in out


def test_a_fit_to_a_file_finds_what_made_it(tmp_path, monkeypatch):
    """The whole way: a file of a made-up GPU whose memory is a fifth slower, the fit, its coefficients."""
    pytest.importorskip("torch")
    from benchmarks.calibrate import read_structure
    from benchmarks.fit import fit
    from benchmarks.measured import batched

    from whichgpu.devices import find_device

    def slower(record):
        return 1.25 if record.section in ("bandwidth", "normalizations", "other") else 1.0

    document = calibration_to_document(synthetic(slower, noise=0.01))
    (tmp_path / "calibration.made-up.json").write_text(json.dumps(document))
    rows = list(measured(tmp_path))
    assert {row.source for row in rows} == {"calibrations"}
    assert {row.task for row in rows} == {"kernel", "train"}
    before, device = efficiencies(), find_device(GPU)
    start = [r for r in rows if r.family in ("bandwidth", "normalizations", "other")]
    found = fit(batched(rows), read_structure(), steps=8).efficiencies
    off = {
        name: math.exp(sum(math.log(predicted_s(r, e) / r.seconds) for r in start) / len(start))
        for name, e in (("before", before), ("after", found))
    }
    assert off["before"] == pytest.approx(1 / 1.25, abs=0.03)
    assert off["after"] == pytest.approx(1.0, abs=0.06)
    assert device.name in {r.device.name for r in rows}
