"""Modules that are made on the CPU, or have no shape yet, and move to the phantom GPU."""

import resource

import pytest
import torch
from torch import nn

from whichgpu.capture import phantom_gpu

GIB = 1024**3


def lazy():
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(4))


@pytest.mark.parametrize("made", ["moved", "moved and cast", "there"])
def test_lazy_modules_get_their_shape_on_the_device(made):
    with phantom_gpu():
        if made == "there":
            with torch.device("cuda"):
                model = lazy()
        else:
            model = lazy().to("cuda", torch.bfloat16 if made == "moved and cast" else None)
        names = [name for name, _ in model.named_parameters()]
        optimizer = torch.optim.AdamW(model.parameters())
        dtype = torch.bfloat16 if made == "moved and cast" else torch.float32
        for _ in range(2):
            model(torch.zeros(2, 3, 4, 4, device="cuda", dtype=dtype)).sum().backward()
            optimizer.step()
        held = model.state_dict(keep_vars=True)
        assert all(tensor.is_cuda for tensor in held.values())
        assert [name for name, tensor in held.items() if isinstance(tensor, nn.Parameter)] == names
        assert held["1.running_mean"].shape == (4,)
        assert held["3.weight"].shape == (4, 16)
        assert {t.dtype for n, t in held.items() if n != "1.num_batches_tracked"} == {dtype}


def test_lazy_modules_of_the_cpu_stay_there():
    with phantom_gpu():
        model = lazy()
        assert model(torch.zeros(2, 3, 4, 4)).device.type == "cpu"
    assert lazy()(torch.zeros(2, 3, 4, 4)).shape == (2, 4)


def test_a_large_model_made_on_the_cpu_takes_no_memory():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with phantom_gpu():
        model = nn.Sequential(*(nn.Linear(8192, 8192) for _ in range(16))).to(torch.bfloat16)
        model[0].weight.requires_grad_(False)
        assert model[0].weight.device.type == "cpu"
        model = model.cuda()
        assert sum(p.numel() * p.itemsize for p in model.parameters()) > 2 * GIB
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before < 0.3 * GIB


def test_small_models_of_the_cpu_keep_their_values():
    torch.manual_seed(0)
    outside = nn.Linear(64, 64).weight.detach().clone()
    with phantom_gpu():
        torch.manual_seed(0)
        assert torch.equal(nn.Linear(64, 64).weight, outside)
