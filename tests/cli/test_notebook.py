"""Notebooks, run by a real IPython kernel; and `whichgpu.install()`."""

import os
import re
import subprocess
import sys
import types

import pytest

pytest.importorskip("torch")

PREPARE = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
device = "cuda" if torch.cuda.is_available() else "cpu"
model = nn.Linear(8, 4).to(device)
optimizer = torch.optim.AdamW(model.parameters())
loader = DataLoader(TensorDataset(torch.randn(100, 8), torch.randint(4, (100,))), batch_size=20)
open("written.txt", "a").write("x")
"""
TRAIN = """
for epoch in range({epochs}):
    for x, y in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x.to(device)), y.to(device)).backward()
        optimizer.step()
"""


@pytest.fixture
def run_cells(tmp_path, monkeypatch):
    """Run cells as a notebook; return their outputs."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("WHICHGPU_CACHE", str(tmp_path / "cache"))
    paths = [p for p in sys.path if p]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))

    def run(*cells, allow_errors=False):
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        client = nbclient.NotebookClient(
            book, timeout=240, allow_errors=allow_errors, resources={"metadata": {"path": str(tmp_path)}}
        )
        client.execute()
        return [cell.outputs for cell in book.cells]

    return run


def shown(outputs):
    return next(o.data for o in outputs if o.output_type == "display_data")


def test_a_cell_is_compared_and_the_notebook_left_as_it_is(run_cells, tmp_path):
    magic = "%%whichgpu --device T4 --epochs 3 --measure-seconds 0.2\nafter = 1\n"
    before, after, again = (
        "weight = model.weight.sum().item()",
        "print(model.weight.sum().item() == weight)",
        ("print('after' in globals(), open('written.txt').read())"),
    )
    *_, measured, same, left = run_cells(
        "%load_ext whichgpu", PREPARE, TRAIN.format(epochs=1), before, magic + TRAIN.format(epochs=10**6), after, again
    )
    data = shown(measured)
    assert data["text/html"].startswith('<div class="whichgpu">')
    assert "this cell, batch 20, fp32" in data["text/plain"]
    assert "1 epoch = 5 steps = 100 samples" in data["text/plain"]
    assert "measured here" in data["text/plain"]
    assert "T4" in data["text/plain"]
    assert same[0].text.strip() == "True"
    assert left[0].text.split() == ["False", "x"]


def test_mistakes_are_told_without_our_traceback(run_cells):
    *_, option, cell = run_cells(
        "%load_ext whichgpu",
        "%%whichgpu --epochs many\n1",
        "%%whichgpu --no-cache\nimport torch\nraise KeyError('mine')",
        allow_errors=True,
    )
    assert "'--epochs'" in option[0].text
    assert "Traceback" not in str(option)
    text = "".join(o.text for o in cell)
    assert "KeyError: 'mine'" in text
    assert "the phantom pass failed" in text
    assert "whichgpu/cli" not in text


def test_a_notebook_without_the_magic(run_cells, tmp_path):
    ask = "import whichgpu\nwhichgpu.install('--device T4 --measure-seconds {}')"
    # The cell that asks is run again; what is trained ends long before the seconds do.
    *_, trained, again = run_cells(
        ask.format(0.2), PREPARE, ask.format(60), TRAIN.format(epochs=3), TRAIN.format(epochs=3)
    )
    text = shown(trained)["text/plain"]
    assert "this cell, batch 20" in text
    assert "measured here" in text
    assert shown(trained)["text/html"].startswith('<div class="whichgpu">')
    assert not again
    assert (tmp_path / "written.txt").read_text() == "x"


def test_a_script_that_asks_to_be_watched_goes_on(tmp_path):
    script = tmp_path / "train.py"
    start = "import whichgpu\nwhichgpu.install('--device T4 --measure-seconds 0.2')\n"
    script.write_text(start + PREPARE + TRAIN.format(epochs=400) + "print('trained to the end')\n")
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, cwd=tmp_path, timeout=240,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table, _, rest = done.stdout.partition("trained to the end")
    assert "train.py, batch 20, fp32" in table
    assert "measured here" in table
    assert not rest.strip()
    assert (tmp_path / "written.txt").read_text() == "x"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", "a script, a module or a notebook"),
        ("--epochs many", "'--epochs'"),
        ("--nonsense", "--nonsense"),
        ("'", "No closing quotation"),
        ("--batch 3", "a script has its own"),
        ("--step-marker a:b", "cannot be marked"),
        ("-o x.json", "leave out x.json"),
    ],
)
def test_what_makes_no_sense_is_refused(options, said):
    import whichgpu

    # What runs the tests is no script.
    with pytest.raises(whichgpu.WhichGpuError, match=re.escape(said)), pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
        whichgpu.install(options)


def test_steps_on_a_real_gpu_are_not_called_the_cpus(monkeypatch):
    import torch

    from whichgpu.capture.script.in_place import ON_ACCELERATOR, InPlace

    found = []
    timing = InPlace(60, found.append)
    model = torch.nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters())
    for _ in range(2):
        model(torch.randn(2, 4)).sum().backward()
        optimizer.step()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    timing.finish()
    assert [(o.error, len(o.seen.intervals)) for o in found] == [(ON_ACCELERATOR, 2)]
    timing.finish()
    assert len(found) == 1


def test_a_compiled_model_stays_compiled(tmp_path):
    script = tmp_path / "train.py"
    start = "import whichgpu\nwhichgpu.install('--device T4 --measure-seconds 0.2')\n"
    compiled = "model = torch.compile(model, backend=lambda graph, inputs: graph.forward, fullgraph=True)\n"
    script.write_text(start + PREPARE + compiled + TRAIN.format(epochs=400))
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, cwd=tmp_path, timeout=240, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )  # fmt: skip
    assert "with what torch.compile made of them" in " ".join(done.stdout.split())
