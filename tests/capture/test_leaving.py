"""Leaving the phantom GPU restores torch; contexts nest; errors inside do no harm."""

import sys
import threading

import pytest
import torch
from torch import nn

from whichgpu.capture import capture, phantom_gpu
from whichgpu.errors import CaptureError


def train_on_cpu():
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.SiLU(), nn.Flatten(), nn.Linear(144, 3))
    recurrent = nn.LSTM(3, 3)
    optimizer = torch.optim.AdamW([*model.parameters(), *recurrent.parameters()])
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = nn.functional.dropout(model(torch.randn(5, 1, 8, 8)), 0.1)
        attended = nn.functional.scaled_dot_product_attention(*[hidden.float()[None, None]] * 3)
        out, _ = recurrent(attended[0])
        loss = out.log_softmax(-1).pow(2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def use_phantom():
    with phantom_gpu():
        with torch.device("cuda"):
            model = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.1), nn.Linear(8, 1))
        optimizer = torch.optim.AdamW(model.parameters())
        scaler = torch.amp.GradScaler("cuda")

        def step():
            optimizer.zero_grad()
            with torch.autocast("cuda"):
                loss = model(torch.randn(4, 8, device="cuda")).sum()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()

        capture(step, name="test", samples_per_step=4)


def state_of_torch():
    """Every function, class and value that the phantom GPU could have replaced."""
    rooms = [
        torch,
        torch._C,
        torch.cuda,
        torch.accelerator,
        torch.autograd,
        torch.nn.functional,
        torch.nn.Module,
        torch.Tensor,
        torch.backends.cudnn,
        torch.optim.Optimizer,
        sys.modules["torch.optim.optimizer"],
        torch.amp.GradScaler,
        torch.utils._foreach_utils,
        torch.utils.data.dataloader,
        torch.backends.cuda,
        torch.cuda.memory,
        torch.cuda.nvtx,
        torch.cuda.streams,
        torch.serialization,
        torch.version,
        torch._utils,
        torch.UntypedStorage,
        torch.compiler,
        sys.modules["torch.nn.parallel.data_parallel"],
        threading.Thread,
    ]
    state = {(str(room), name): id(value) for room in rooms for name, value in vars(room).items()}
    state["kernels"] = tuple(
        torch._C._dispatch_dump(f"aten::{op}")
        for op in ("mm", "dropout", "softmax.int", "scaled_dot_product_attention", "lstm.input", "silu_backward")
    )
    state["modes"] = torch._C._len_torch_function_stack(), torch._C._len_torch_dispatch_stack()
    state["hooks"] = (
        len(nn.modules.module._global_forward_hooks),
        len(nn.modules.module._global_forward_pre_hooks),
        len(sys.modules["torch.optim.optimizer"]._global_optimizer_pre_hooks),
        len(sys.modules["torch.optim.optimizer"]._global_optimizer_post_hooks),
    )
    state["loading"] = (
        tuple(torch.serialization._package_registry),
        frozenset(torch.serialization.get_safe_globals()),
    )
    return state


def test_training_on_the_cpu_gives_the_same_numbers_afterwards():
    before = train_on_cpu()
    use_phantom()
    assert train_on_cpu() == before


def test_everything_replaced_is_put_back():
    use_phantom()  # imports what is imported only once
    before = state_of_torch()
    use_phantom()
    after = state_of_torch()
    assert {k: v for k, v in before.items() if after.get(k) != v} == {}
    assert set(after) == set(before)


@pytest.mark.skipif(torch.version.cuda is not None, reason="a CUDA build answers differently")
def test_cuda_is_absent_again():
    use_phantom()
    assert not torch.cuda.is_available()
    # torch asks once whether it has CUDA; if the phantom GPU was asked, the kernels refuse instead.
    with pytest.raises((AssertionError, NotImplementedError), match="CUDA"):
        torch.zeros(1, device="cuda")


def test_a_default_device_is_given_up():
    with phantom_gpu():
        torch.set_default_device("cuda")
        assert torch.zeros(1).is_cuda
    assert torch.zeros(1).device.type == "cpu"


def test_nested_contexts_are_one():
    with phantom_gpu():
        outer = torch.ones(3, device="cuda")
        with phantom_gpu():
            inner = outer + 1
        assert (inner + outer).is_cuda
        assert torch.cuda.is_available()
    assert torch._C._len_torch_dispatch_stack() == 0


def test_an_error_inside_restores_too():
    before = state_of_torch()

    def failing():
        nn.Linear(2, 2).cuda()(torch.ones(1, 2, device="cuda"))
        raise ValueError("from the step")

    with pytest.raises(ValueError, match="from the step"), phantom_gpu():
        capture(failing, name="test", samples_per_step=1)
    assert state_of_torch() == before
    use_phantom()


def test_a_tensor_that_escapes_says_what_it_is():
    with phantom_gpu():
        escaped = torch.ones(3, device="cuda")
    with pytest.raises(CaptureError, match=r"outside of .with whichgpu"):
        escaped + 1
