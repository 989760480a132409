"""Tensors of the phantom GPU: shape, dtype, strides and storage size, no values.

To C++ such a tensor lies on the meta device: there autograd has all it needs, while for cuda a CPU-only torch has
neither a device guard nor a thread. To Python, and so to the user's code, it lies on cuda:0. Its dispatch keys are
those of CUDA, so that kernels registered for CUDA (autocast, the choice of fused attention) find it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from whichgpu.errors import CaptureError

if TYPE_CHECKING:
    from whichgpu.capture.chances import Drawn
    from whichgpu.capture.shadow import Shadow

META = torch.device("meta")
CUDA = torch.device("cuda", 0)

# Kernels written in Python ask tensors for their device and must then hear what C++ hears.
_in_kernel = 0

# The dispatcher of the phantom GPU that is switched on; threads it does not know of reach it through this.
active_dispatch: Any = None


class PhantomTensor(torch.Tensor):  # type: ignore[misc]
    """A tensor on the phantom GPU.

    Attributes:
        shadow: The real value, kept for small integer and boolean tensors while it is known.
        guess: What is read back of a comparison of single numbers that nobody knows; None of all else.
        drawn: How its numbers are drawn, where they are random.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl
    shadow: Shadow | None = None
    guess: bool | None = None
    drawn: Drawn | None = None

    @property
    def device(self) -> torch.device:
        """cuda:0, or meta while a kernel runs."""
        return META if _in_kernel else CUDA

    @property
    def is_cuda(self) -> bool:
        """Whether it claims to lie on a CUDA device."""
        return not _in_kernel

    @property
    def is_meta(self) -> bool:
        """Whether it admits to have no values."""
        return bool(_in_kernel)

    def as_subclass(self, cls: Any) -> Any:
        """Return itself: what a class of the user's own adds to a tensor, such as where an image came from, is lost."""
        return self

    def get_device(self) -> int:
        """Return the ordinal of its device."""
        return -1 if _in_kernel else 0

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Pass the call to the phantom GPU, if one is switched on."""
        if active_dispatch is None:
            raise CaptureError(
                f"{func} was called on a tensor of the phantom GPU outside of `with whichgpu.phantom_gpu():`. "
                "It has no values; run the training step inside the context."
            )
        return active_dispatch(func, types, args, kwargs or {})

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        extra = ", requires_grad=True" if self.requires_grad else ""
        return f"phantom(shape={tuple(self.shape)}, dtype={self.dtype}, device='{self.device}'{extra})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Return its form for pickle and torch.save; its values, where known, too."""
        from whichgpu.capture.saving import reduced

        return reduced(self)

    def __format__(self, format_spec: str) -> str:
        """Format the number of a tensor without dimensions, as torch does."""
        return format(self.item(), format_spec) if format_spec and not self.dim() else repr(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> torch.Tensor:
        if id(self) in memo:
            found: torch.Tensor = memo[id(self)]
            return found
        if not self.is_leaf:
            raise RuntimeError("Only Tensors created explicitly by the user support the deepcopy protocol")
        with torch.no_grad():
            copy = self.clone()
        if getattr(self, "_is_param", False):
            copy = torch.nn.Parameter(copy, self.requires_grad)
        else:
            copy.requires_grad_(self.requires_grad)
        memo[id(self)] = copy
        if self.grad is not None:
            copy.grad = self.grad.__deepcopy__(memo)
        return copy


# Programs look for "torch" in the name of a value's type (tensorboardX does).
PhantomTensor.__module__, PhantomTensor.__qualname__, PhantomTensor.__name__ = "torch", "Tensor", "Tensor"


def wrap(meta: torch.Tensor) -> PhantomTensor:
    """Return the phantom tensor that shares the storage of a plain meta tensor."""
    wrapped: PhantomTensor = torch.Tensor._make_subclass(PhantomTensor, meta, False, device_for_backend_keys=CUDA)
    return wrapped


class KernelCall:
    """While entered, operators run their meta kernels and nothing of the phantom GPU sees them."""

    __slots__ = ("_dispatch", "_keys")

    def __enter__(self) -> None:
        global _in_kernel
        self._dispatch = torch._C._DisableTorchDispatch()
        self._dispatch.__enter__()
        # Including Meta also leaves Dense included; the guard puts all keys back.
        self._keys = torch._C._PreserveDispatchKeyGuard()
        self._keys.__enter__()
        torch._C._set_meta_in_tls_dispatch_include(True)
        _in_kernel += 1

    def __exit__(self, *error: object) -> None:
        global _in_kernel
        _in_kernel -= 1
        self._keys.__exit__(None, None, None)
        self._dispatch.__exit__(None, None, None)
