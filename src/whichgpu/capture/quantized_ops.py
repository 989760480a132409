"""bitsandbytes on the phantom GPU: operators that ask for values, optimizers whose state may go to the host."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch

from whichgpu.capture.patches import Patches
from whichgpu.capture.phantom_tensor import CUDA
from whichgpu.capture.special_ops import Handler

if TYPE_CHECKING:
    from whichgpu.capture.fake_device import FakeDevice

NO_OUTLIERS = (
    "Of what is multiplied in 8 bits no column is taken to hold outliers, which bitsandbytes multiplies in 16: a real "
    "run may do some more."
)


def install(patches: Patches, bitsandbytes: ModuleType, handlers: dict[Any, Handler]) -> None:
    """Let bitsandbytes work where nothing has values.

    Args:
        patches: What is replaced, to be put back.
        bitsandbytes: The package, as imported.
        handlers: Of the phantom GPU; takes those of the operators that ask for values.
    """
    keep_state_on_the_device(patches, bitsandbytes)
    ops = torch.ops.bitsandbytes
    for name, handler in (("int8_vectorwise_quant", _quantize), ("int8_mixed_scaled_mm", _multiply)):
        if hasattr(ops, name):
            handlers[getattr(ops, name).default] = handler


def keep_state_on_the_device(patches: Patches, bitsandbytes: ModuleType) -> None:
    """Let paged optimizers keep their state as the others do: it is paged out only where memory runs short."""

    def buffer(optimizer: Any, p: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.zeros_like(p, dtype=dtype, device=p.device)

    owner = bitsandbytes.optim.optimizer.Optimizer8bit
    if hasattr(owner, "get_state_buffer"):
        patches.set(owner, "get_state_buffer", buffer)


def _empty(device: FakeDevice, shape: list[int], dtype: torch.dtype) -> Any:
    return device.answer(torch.ops.aten.empty.memory_format, (shape,), {"dtype": dtype, "device": CUDA})


def _quantize(device: FakeDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    values, *threshold = args
    if not (threshold[0] if threshold else kwargs.get("threshold", 0.0)):
        return NotImplemented
    device.tell(NO_OUTLIERS)
    quantized, scales, _ = device.answer(func, (values, 0.0), {})
    return quantized, scales, _empty(device, [0], torch.int64)


def _multiply(device: FakeDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    values, *factors = args
    bias = kwargs.get("bias", factors[5] if len(factors) > 5 else None)
    product = torch.ops.bitsandbytes.int8_scaled_mm.default
    made = device.answer(product, tuple(factors[:4]), {"bias": bias, "dtype": values.dtype})
    return made, _empty(device, [len(values), 0], values.dtype)
