"""Autocast on the phantom GPU.

torch's own autocast kernels for CUDA ask a tensor in C++ whether it is on CUDA, and the phantom's must say no (see
`phantom_tensor`). So they are replaced, while the phantom GPU is switched on, by kernels in Python that do the same.
Which operator is cast to what is read from the header of the installed torch, which its own kernels are made from.

Source: ATen/autocast_mode.h and ATen/autocast_mode.cpp of torch.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from whichgpu.capture.phantom_tensor import PhantomTensor
from whichgpu.errors import CaptureError

_POLICIES = {
    "AT_FORALL_LOWER_PRECISION_FP": "lower",
    "AT_FORALL_FP32": "float32",
    "AT_FORALL_FP32_SET_OPT_DTYPE": "set_dtype",
    "AT_FORALL_DIFFERENT_REDISPATCH_SIGNATURE": "append_dtype",
    "AT_FORALL_PROMOTE": "promote",
}
AUTOCAST_KEY = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCUDA)


@cache
def cast_policies() -> dict[str, str]:
    """Return the cast policy of every operator autocast knows, by name ("mm", "softmax.int").

    Raises:
        CaptureError: If the header of the installed torch is missing or written differently.
    """
    header = Path(torch.__file__).parent / "include" / "ATen" / "autocast_mode.h"
    try:
        text = header.read_text(encoding="utf-8").replace("\\\n", " ")
    except OSError as error:
        raise CaptureError(f"torch {torch.__version__} lacks {header}, which tells what autocast casts.") from error
    policies = {}
    for macro, policy in _POLICIES.items():
        found = re.search(rf"#define {macro}\(_\)(.*)", text)
        names = _listed(found[1]) if found else []
        if not names:
            raise CaptureError(f"{header} of torch {torch.__version__} has no list {macro}; expected one.")
        policies.update(dict.fromkeys(names, policy))
    return policies


def _listed(body: str) -> list[str]:
    quoted = re.findall(r'"([\w.]+)"', body)
    return quoted or [".".join(re.findall(r"\w+", entry)) for entry in re.findall(r"_\(([^)]*)\)", body)]


class Autocast:
    """Python kernels in place of torch's autocast kernels for CUDA."""

    def __init__(self) -> None:
        # The low-precision copy of each weight, as long as the outermost autocast region lasts.
        self._weights: dict[tuple[int, torch.dtype], tuple[weakref.ref[torch.Tensor], torch.Tensor]] = {}

    def install(self, library: torch.library.Library) -> None:
        """Register the kernels with `library`, which takes them away when it is destroyed."""
        for name, policy in cast_policies().items():
            packet, _, overload = name.partition(".")
            op = getattr(getattr(torch.ops.aten, packet, None), overload or "default", None)
            if op is not None and torch._C._dispatch_has_kernel_for_dispatch_key(op.name(), "AutocastCUDA"):
                library.impl(op.name(), self._kernel(op, policy), "AutocastCUDA", allow_override=True)

    def clear(self) -> None:
        """Drop the copies of the weights."""
        self._weights.clear()

    def _kernel(self, op: Any, policy: str) -> Callable[..., Any]:
        names = [a.name for a in op._schema.arguments]

        def kernel(*args: Any, **kwargs: Any) -> Any:
            with torch._C._ExcludeDispatchKeyGuard(AUTOCAST_KEY):
                if policy in ("set_dtype", "append_dtype"):
                    if not _is_eligible(args[0] if args else None):
                        return op(*args, **kwargs)
                    given = dict(zip(names, args, strict=False)) | kwargs
                    if policy == "append_dtype":
                        # The overloads that take a dtype have no defaults.
                        for argument in op._schema.arguments:
                            if argument.has_default_value():
                                given.setdefault(argument.name, argument.default_value)
                        return torch.ops.aten.norm(**given, dtype=torch.float32)
                    if given.get("dtype") is None:
                        given["dtype"] = torch.float32
                    return op(**given)
                if policy == "float32":
                    to = torch.float32
                else:
                    to = torch.get_autocast_dtype("cuda")
                    if policy == "promote":
                        to = _widest(to, (*args, *kwargs.values()))
                return op(*(self._cast(a, to) for a in args), **{k: self._cast(v, to) for k, v in kwargs.items()})

        return kernel

    def _cast(self, value: Any, to: torch.dtype) -> Any:
        if isinstance(value, (list, tuple)):
            return [self._cast(v, to) for v in value] if any(isinstance(v, torch.Tensor) for v in value) else value
        if not _is_eligible(value) or value.dtype == to:
            return value
        is_weight = (
            value.dtype == torch.float32
            and to == torch.get_autocast_dtype("cuda")
            and value.requires_grad
            and value.is_leaf
            and not value._is_view()
            and torch.is_autocast_cache_enabled()
        )
        if not is_weight:
            return value.to(to)
        found = self._weights.get((id(value), to))
        if found is not None and found[0]() is value:
            return found[1]
        cast = value.to(to)
        self._weights[id(value), to] = (weakref.ref(value), cast)
        return cast


def _is_eligible(value: Any) -> bool:
    return isinstance(value, PhantomTensor) and value.is_floating_point() and value.dtype != torch.float64


def _widest(lower: torch.dtype, values: tuple[Any, ...]) -> torch.dtype:
    for value in values:
        for tensor in value if isinstance(value, (list, tuple)) else (value,):
            if _is_eligible(tensor) and tensor.dtype == torch.float32:
                return torch.float32
    return lower
