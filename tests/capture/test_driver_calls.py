"""No call reaches the CUDA driver: as a build of torch for CUDA would be asked, with no driver there."""

import re
import types
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from whichgpu.capture import capture, phantom_gpu
from whichgpu.errors import CaptureError

# Public names of torch.cuda that are not called here, each with the reason.
NOT_CALLED = {
    "caching_allocator_alloc": "returns an address",
    "caching_allocator_disabled": "a decorator of the above",
    "CUDAPluggableAllocator": "loads a shared library of the user's",
    "GreenContext": "splits the multiprocessors of a device",
    "MemPool": "a pool of the allocator's own",
    "use_mem_pool": "likewise",
    "DeferredCudaCallError": "an exception",
    "CudaError": "an exception made of an error of the driver",
    "cudaStatus": "numbers of errors",
    "Graph": "an abstract class",
}
ARGUMENTS = {
    "device": (0,),
    "device_of": (torch.zeros(1),),
    "device_index": (0,),
    "stream": (None,),
    "StreamContext": (None,),
    "ExternalStream": (1,),
    "get_stream_from_external": (1,),
    "set_stream": (None,),
    "set_device": (0,),
    "set_device_index": (0,),
    "set_device_idx": (0,),
    "manual_seed": (0,),
    "manual_seed_all": (0,),
    "set_rng_state": (torch.zeros(16, dtype=torch.uint8),),
    "set_rng_state_all": ([torch.zeros(16, dtype=torch.uint8)],),
    "set_per_process_memory_fraction": (0.5,),
    "set_sync_debug_mode": (0,),
    "can_device_access_peer": (0, 0),
    "caching_allocator_delete": (0,),
    "change_current_allocator": (None,),
    "check_error": (0,),
    "make_graphed_callables": (abs, ()),
}
# Names by which torch's own Python code reaches the driver, found in its sources.
ENTRY_POINTS = sorted(
    {
        name
        for folder in ("cuda", "accelerator", "backends/cuda", "backends/cudnn", "utils", "amp", "optim")
        for path in Path(torch.__file__).parent.joinpath(folder).glob("*.py")
        for name in re.findall(r"_C\.(_cuda_\w+|_accelerator_\w+)", path.read_text(encoding="utf-8"))
    }
    - {"_cuda_CUDAAllocator"}
)


@pytest.fixture
def reached(monkeypatch):
    """Let torch have every entry point a build for CUDA has, and note which are called."""
    calls = []

    def entry_point(name):
        def call(*args, **kwargs):
            calls.append(name)
            raise RuntimeError("Found no NVIDIA driver on your system.")

        return call

    for name in ENTRY_POINTS:
        monkeypatch.setattr(torch._C, name, entry_point(name), raising=False)
    return calls


def functions_of(module):
    for name in module.__all__:
        value = getattr(module, name)
        if callable(value) and not isinstance(value, types.ModuleType) and not name.endswith(("Tensor", "Storage")):
            yield name, value


def test_the_entry_points_are_found():
    assert len(ENTRY_POINTS) > 60


@pytest.mark.parametrize("module", [torch.cuda, torch.cuda.memory, torch.cuda.random, torch.accelerator])
def test_every_public_function_is_answered(module, reached):
    with phantom_gpu():
        for name, function in functions_of(module):
            if name == "graph":
                function(torch.cuda.CUDAGraph())
            elif name not in NOT_CALLED:
                function(*ARGUMENTS.get(name, ()))
    assert reached == []


def test_a_training_step_reaches_none(reached):
    with phantom_gpu():
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Dropout(0.1), nn.Linear(288, 4))
        model = nn.DataParallel(model.cuda())
        optimizer = torch.optim.AdamW(model.parameters(), fused=True)
        scaler = torch.amp.GradScaler("cuda")

        def step():
            images = torch.zeros(2, 3, 8, 8).pin_memory().cuda(non_blocking=True)
            with torch.autocast("cuda"):
                loss = functional.cross_entropy(model(images), torch.zeros(2, dtype=torch.long, device="cuda"))
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            torch.cuda.synchronize()
            return loss.item()

        assert capture(step, name="step", samples_per_step=2).graph.ops
    assert reached == []


def test_an_entry_point_nobody_has_an_answer_to_raises(monkeypatch):
    before = object()
    monkeypatch.setattr(torch._C, "_cuda_newFunction", before, raising=False)
    with phantom_gpu(), pytest.raises(CaptureError, match=r"torch\._C\._cuda_newFunction was called"):
        torch._C._cuda_newFunction()
    assert torch._C._cuda_newFunction is before


def test_what_was_missing_is_missing_again():
    missing = [name for name in ENTRY_POINTS if not hasattr(torch._C, name)]
    version = torch.version.cuda
    with phantom_gpu():
        assert torch._C._cuda_getDeviceCount() == 1
    assert [name for name in ENTRY_POINTS if not hasattr(torch._C, name)] == missing
    assert torch.version.cuda == version
