"""Tensor types by name: torch.cuda.FloatTensor and its like, and tensors made of such a type by default."""

from __future__ import annotations

from typing import Any

import torch

from whichgpu.capture.patches import Patches
from whichgpu.capture.phantom_tensor import CUDA, PhantomTensor

DTYPES = {
    "FloatTensor": torch.float32,
    "DoubleTensor": torch.float64,
    "HalfTensor": torch.float16,
    "BFloat16Tensor": torch.bfloat16,
    "LongTensor": torch.int64,
    "IntTensor": torch.int32,
    "ShortTensor": torch.int16,
    "CharTensor": torch.int8,
    "ByteTensor": torch.uint8,
    "BoolTensor": torch.bool,
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class CudaTensorType(type):
    """The type of torch.cuda.FloatTensor and its like; each is a class of this one.

    Attributes:
        dtype: The number format of its tensors.
    """

    dtype: torch.dtype

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, PhantomTensor) and instance.dtype == cls.dtype

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Return a tensor of given sizes, or of the values of a sequence, array or tensor."""
        if not args:
            return torch.empty(0, dtype=cls.dtype, device=CUDA)
        first = args[0]
        if isinstance(first, (int, torch.Size)):
            shape = tuple(first) if isinstance(first, torch.Size) else args
            return torch.empty(shape, dtype=cls.dtype, device=CUDA)
        return torch.as_tensor(first, dtype=cls.dtype, device=CUDA)


def _made(name: str, dtype: torch.dtype) -> CudaTensorType:
    return CudaTensorType(name, (), {"dtype": dtype, "__module__": "torch.cuda", "is_cuda": True})


TYPES = {name: _made(name, dtype) for name, dtype in DTYPES.items()}


def dtype_on_cuda(kind: Any) -> torch.dtype | None:
    """Return the number format of a CUDA tensor type or its name, or None if it is none."""
    if isinstance(kind, CudaTensorType):
        return kind.dtype
    if isinstance(kind, str) and kind.startswith("torch.cuda."):
        return DTYPES.get(kind.removeprefix("torch.cuda."))
    return None


def name_of(tensor: torch.Tensor) -> str:
    """Return what `tensor.type()` says of a phantom tensor."""
    return f"torch.cuda.{_NAMES.get(tensor.dtype, 'Tensor')}"


def install(patches: Patches) -> None:
    """Let torch.cuda have tensor types, and let them be the default."""
    for name, made in TYPES.items():
        if hasattr(torch.cuda, name):
            patches.set(torch.cuda, name, made)
    plain, make = torch.set_default_tensor_type, torch.Tensor.__new__
    default: list[CudaTensorType] = []

    def new(cls: type, *args: Any, **kwargs: Any) -> Any:
        """Make torch.Tensor(...) of the default type; its other classes are made as ever."""
        if cls is torch.Tensor and default and "device" not in kwargs:
            return default[-1](*args, **kwargs)
        return make(cls, *args, **kwargs)

    patches.set(torch.Tensor, "__new__", staticmethod(new))

    def set_default_tensor_type(kind: Any) -> None:
        dtype = dtype_on_cuda(kind)
        default.clear()
        if dtype is None:
            plain(kind)
            torch.set_default_device(None)
        else:
            default.append(TYPES[_NAMES[dtype]])
            torch.set_default_dtype(dtype)
            torch.set_default_device("cuda")

    patches.set(torch, "set_default_tensor_type", set_default_tensor_type)
