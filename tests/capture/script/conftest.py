"""Running small scripts through a pass, in a process of its own as `whichgpu` does."""

import sys
import textwrap
from collections import Counter

import pytest

from whichgpu.capture.script import ScriptCall, ScriptOptions, child_process, run_script
from whichgpu.capture.script.child_process import run_pass
from whichgpu.capture.script.request import PassRequest
from whichgpu.graph import job_from_document

pytest.importorskip("torch")

# A model, a batch and an optimizer, for scripts that are about something else.
START = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
device = "cuda" if torch.cuda.is_available() else "cpu"
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)).to(device)
data = TensorDataset(torch.randn(100, 8), torch.randint(4, (100,)))
loader = DataLoader(data, batch_size=10)
optimizer = torch.optim.AdamW(model.parameters())
loss_of = nn.CrossEntropyLoss()
"""
LOOP = """
for epoch in range(3):
    for x, y in loader:
        optimizer.zero_grad()
        loss_of(model(x.to(device)), y.to(device)).backward()
        optimizer.step()
"""


@pytest.fixture
def script(tmp_path):
    """Write a script; return its call with the arguments given."""

    def write(text, *arguments, name="train.py"):
        folder = tmp_path / "project"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text))
        return ScriptCall(name, arguments, folder=str(folder))

    return write


@pytest.fixture(scope="session")
def _forks():
    if sys.platform != "linux":
        yield None
        return
    from tests.capture.script.forked import Forks

    forks = Forks()
    yield forks
    forks.close()


@pytest.fixture
def forked(_forks, monkeypatch):
    """Let passes be forked instead of started, which spares each of them the import of torch."""
    if _forks is not None:
        monkeypatch.setattr(child_process, "_started", _forks.started)


@pytest.fixture
def phantom(forked):
    """Run the phantom pass."""

    def run(call, **more):
        return run_pass(PassRequest(call, "phantom", "", **more), 120, None)

    return run


@pytest.fixture
def real(forked):
    """Run the real pass, for a fifth of a second."""

    def run(call, **more):
        return run_pass(PassRequest(call, "real", "", seconds=0.2, **more), 120, None)

    return run


@pytest.fixture
def job(forked):
    """Run the phantom pass and return the job it makes."""

    def run(call, **options):
        return run_script(call, ScriptOptions(phantom_only=True, timeout_s=120, **options), None).job

    return run


def op_names(outcome):
    """Return how often each op was recorded."""
    assert outcome.status == "done", outcome.error + outcome.traceback
    return Counter(op.name for op in job_from_document(outcome.job).graph.ops)
