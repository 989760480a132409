"""The built-in jobs: what ships is what the definitions say, and predicting it needs no framework."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from whichgpu.errors import GraphError, OptionError, UnknownNameError
from whichgpu.graph import job_to_document
from whichgpu.workloads import DEFAULT_JOBS, definition, workload, workload_names
from whichgpu.workloads.ship import CHECK_BATCH, FOLDER, capture_workload, variants
from whichgpu.workloads.shipped import graph_file_name

VARIANTS = [(name, precision, layout) for name in workload_names() for precision, layout in variants(name)]

# From the papers and model cards named in each definition.
PARAMETERS = {
    "mnist": 1_199_882,
    "resnet50": 25_557_032,
    "gpt2": 124_439_808,
    "bert-base": 108_893_186,
    "vit-b16": 86_567_656,
    "llama3-8b-lora": 8_030_261_248,
    "unet-sd15": 859_520_964,
}


def test_the_jobs_cover_the_families_people_train() -> None:
    assert workload_names()[:3] == DEFAULT_JOBS == ("mnist", "resnet50", "gpt2")
    assert set(workload_names()) == {*PARAMETERS, "lstm"}


@pytest.mark.parametrize("name", [n for n in PARAMETERS if n != "llama3-8b-lora"])
def test_models_have_the_published_number_of_parameters(name: str) -> None:
    torch = pytest.importorskip("torch")
    with torch.device("meta"):
        model = definition(name).model()
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]


def test_llama_trains_only_its_adapters() -> None:
    torch = pytest.importorskip("torch")
    with torch.device("meta"):
        model = definition("llama3-8b-lora").model()
    frozen = [p for p in model.parameters() if not p.requires_grad]
    trained = [p for p in model.parameters() if p.requires_grad]
    assert sum(p.numel() for p in frozen) == PARAMETERS["llama3-8b-lora"]
    assert {p.dtype for p in frozen} == {torch.bfloat16}
    # Rank 16 on q, k, v, o, gate, up and down: 16 * (inputs + outputs) each, in 32 blocks.
    per_block = 16 * (2 * (4096 + 4096) + 2 * (4096 + 1024) + 2 * (4096 + 14336) + (14336 + 4096))
    assert sum(p.numel() for p in trained) == 32 * per_block


@pytest.mark.parametrize(("name", "precision", "layout"), VARIANTS)
def test_the_shipped_graph_equals_a_fresh_capture(name: str, precision: str, layout: str) -> None:
    pytest.importorskip("torch")
    shipped = job_to_document(workload(name, batch=CHECK_BATCH, precision=precision, layout=layout))
    fresh = job_to_document(capture_workload(name, CHECK_BATCH, precision, layout))
    if shipped["source"] != fresh["source"]:
        pytest.skip(f"shipped from {shipped['source']}, installed is {fresh['source']}")
    assert shipped.keys() == fresh.keys()
    for part in shipped:
        assert without_floats(shipped[part]) == without_floats(fresh[part]), part


def without_floats(value: Any) -> Any:
    """A loss scaled by 1/batch is the one thing that is not affine; no work depends on it."""
    if isinstance(value, dict):
        return {k: without_floats(v) for k, v in value.items()}
    if isinstance(value, list):
        return [without_floats(v) for v in value]
    return "float" if isinstance(value, float) else value


def test_every_shipped_file_belongs_to_a_job() -> None:
    assert {f.name for f in FOLDER.glob("*")} == {graph_file_name(*variant) for variant in VARIANTS}


def test_the_shipped_graphs_stay_small() -> None:
    assert sum(f.stat().st_size for f in FOLDER.glob("*")) < 4e6


@pytest.mark.parametrize("name", workload_names())
def test_options_change_the_job(name: str) -> None:
    job = workload(name, batch=3)
    assert job.samples_per_step == 3
    assert job.options["batch"] == 3
    assert job.samples_per_epoch == definition(name).samples_per_epoch
    assert workload(name).samples_per_step == definition(name).batch


def test_tf32_shares_the_graph_and_keeps_its_name() -> None:
    job, plain = workload("resnet50", precision="tf32"), workload("resnet50", precision="fp32")
    assert job.precision == "tf32"
    assert job.graph == plain.graph


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"name": "resnet5"}, UnknownNameError, "resnet50"),
        ({"name": "mnist", "batch": 0}, OptionError, "Batch is 0; expected 1 or more"),
        ({"name": "mnist", "batch": -4}, OptionError, "Batch is -4"),
        ({"name": "mnist", "precision": "fp64"}, UnknownNameError, "fp64"),
        ({"name": "llama3-8b-lora", "precision": "fp32"}, OptionError, "it has bf16"),
        ({"name": "gpt2", "layout": "channels_last"}, OptionError, "none to choose from"),
        ({"name": "resnet50", "layout": "hwcn"}, OptionError, "nchw, channels_last"),
    ],
)
def test_what_a_job_does_not_have_is_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        workload(**options)


def test_a_missing_or_broken_graph_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from whichgpu.workloads import shipped

    (tmp_path / "graphs").mkdir()
    monkeypatch.setattr(shipped.resources, "files", lambda package: tmp_path)
    with pytest.raises(GraphError, match=r"No graph is shipped as mnist\.fp32\.nchw"):
        workload("mnist")
    (tmp_path / "graphs" / "mnist.fp32.nchw.json.gz").write_bytes(b"not gzip")
    with pytest.raises(GraphError, match="install whichgpu again"):
        workload("mnist")


def test_loading_a_job_imports_no_framework() -> None:
    code = (
        "import json, sys; from whichgpu.workloads import workload, workload_names;"
        "[workload(n) for n in workload_names()];"
        "print(json.dumps([m for m in ('torch', 'transformers', 'numpy', 'peft') if m in sys.modules]))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == []


@pytest.mark.parametrize("compiled", [False, True])
def test_inference_leaves_the_weights_alone_and_has_no_gradients(compiled: bool) -> None:
    torch = pytest.importorskip("torch")
    if compiled and not shutil.which("g++"):
        pytest.skip("compiling for a CPU needs g++")
    torch.manual_seed(0)
    step = definition("mnist").inference_step(2, "cpu", compiled=compiled)
    first, second = step(), step()
    assert first.item() == second.item()  # no dropout, no update
    assert not first.requires_grad


def test_a_compiled_step_trains() -> None:
    pytest.importorskip("torch")
    if not shutil.which("g++"):
        pytest.skip("compiling for a CPU needs g++")
    step = definition("mnist").training_step(2, "cpu", compiled=True)
    assert len({step().item() for _ in range(4)}) == 4
