"""The real pass knows no GPU: what a script puts on one lies in the CPU's memory and is computed there.

Only what names a device is replaced, so a step costs what it costs without.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable
from typing import Any

import torch
import torch._dynamo  # looks at torch.cuda when it is first imported
from torch.utils import _device

from whichgpu.capture.device_class import device_class
from whichgpu.capture.driver_calls import ANSWERS
from whichgpu.capture.patches import Patches

CPU = torch.device("cpu")
_NOT_HERE = frozenset({"cuda", "mps", "xpu", "hpu", "npu"})
_MEMORY_BYTES = 80_000_000_000
# What takes a device and is not among the constructors torch lists itself.
_MORE = ("empty_like", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like", "randint_like", "normal")


def install(patches: Patches, *, pretends_cuda: bool, with_autocast: bool = False) -> None:
    """Let everything meant for a GPU happen on the CPU.

    Args:
        patches: What is replaced, to be put back.
        pretends_cuda: Whether torch.cuda says that there is a GPU, for scripts that refuse to run without.
        with_autocast: Whether what the script computes under autocast is computed so here, in bfloat16.
    """
    patches.set(torch, "device", device_class(lambda number: CPU))
    more: list[Callable[..., Any]] = [getattr(torch, name) for name in _MORE]
    constructors: list[Callable[..., Any]] = [*_device._device_constructors(), *more]
    for owner, prefix in ((torch, ""), (torch.fft, "fft_"), (torch.nested, "")):
        for plain in constructors:
            name = plain.__name__.removeprefix(prefix)
            if getattr(owner, name, None) is plain:
                patches.set(owner, name, _on_cpu(plain))
    for name in ("load", "set_default_device", "set_default_tensor_type"):
        patches.set(torch, name, _on_cpu(getattr(torch, name)))
    for owner in (torch.Tensor, torch.nn.Module):
        patches.set(owner, "to", _on_cpu(owner.to))
        for name in ("cuda", "xpu", "mtia"):
            if hasattr(owner, name):
                patches.set(owner, name, lambda self, *args, **kwargs: self)
    for name in ("new_empty", "new_zeros", "new_ones", "new_full", "new_tensor", "type"):
        patches.set(torch.Tensor, name, _on_cpu(getattr(torch.Tensor, name)))
    patches.set(torch.Tensor, "pin_memory", lambda self, *args, **kwargs: self)
    # Lazy parameters know which functions they take, by identity.
    lazy = torch.nn.parameter.UninitializedTensorMixin
    taken = [getattr(torch.Tensor, name) for name in ("to", "cuda", "type")]
    patches.set(lazy, "_allowed_methods", [*lazy._allowed_methods, *taken])
    patches.set(torch.Tensor, "record_stream", lambda self, stream: None)
    patches.set(torch.nn.Module, "to_empty", _on_cpu(torch.nn.Module.to_empty))
    patches.set(torch.nn.DataParallel, "forward", lambda self, *args, **kwargs: self.module(*args, **kwargs))
    plain_context = _device.DeviceContext.__init__
    patches.set(_device.DeviceContext, "__init__", lambda self, device: plain_context(self, _cpu_for(device)))
    patches.set(torch, "Generator", _generator_class())
    for name, value in list(vars(torch.cuda).items()):
        # As in torch.cuda.LongTensor(8): a class of its own, which has no GPU to make its tensors on.
        if name.endswith("Tensor") and hasattr(torch, name) and isinstance(value, type):
            patches.set(torch.cuda, name, getattr(torch, name))
    _install_autocast(patches, with_autocast)
    _install_cuda(patches, pretends_cuda)


def _cpu_for(value: Any) -> Any:
    """Return the CPU where `value` names a device this pass does not have, else `value`."""
    if isinstance(value, torch.device):
        return CPU if value.type in _NOT_HERE else value
    if isinstance(value, str):
        if value.startswith("torch.cuda."):
            return value.replace("torch.cuda.", "torch.")
        return CPU if value.partition(":")[0] in _NOT_HERE else value
    if isinstance(value, type) and value.__module__ == "torch.cuda":
        return getattr(torch, value.__name__, value)
    return value


def _on_cpu(plain: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(plain)
    def call(*args: Any, **kwargs: Any) -> Any:
        for name in ("device", "map_location"):
            wanted = kwargs.get(name)
            if wanted is not None:
                # A number is the ordinal of a GPU.
                kwargs[name] = CPU if type(wanted) is int else _cpu_for(wanted)
        if len(args) > 1 and type(args[1]) in (str, torch.device, int):
            second = args[1]
            if type(second) is not int or plain.__name__ == "to":
                args = (args[0], CPU if type(second) is int else _cpu_for(second), *args[2:])
        elif len(args) == 1 and plain.__name__ in ("set_default_device", "set_default_tensor_type"):
            args = (_cpu_for(args[0]),)
        return plain(*args, **kwargs)

    return call


def _generator_class() -> Any:
    plain = torch.Generator

    class Kind(type):
        def __instancecheck__(cls, instance: Any) -> bool:
            return isinstance(instance, plain)

    class Generator(metaclass=Kind):
        """Makes generators of the CPU, whatever device is asked for."""

        def __new__(cls, device: Any = "cpu") -> Any:
            return plain(_cpu_for(device))

    return Generator


def _install_autocast(patches: Patches, with_autocast: bool) -> None:
    plain = torch.autocast.__init__

    def init(context: Any, device_type: str, dtype: Any = None, enabled: bool = True, **more: Any) -> None:
        if device_type in _NOT_HERE:
            # What a CPU computes slower is no help to anybody who waits for it; the phantom pass sees what was asked.
            plain(context, "cpu", torch.bfloat16, enabled=enabled and with_autocast, **more)
            return
        plain(context, device_type, dtype, enabled, **more)

    patches.set(torch.autocast, "__init__", init)
    # As it is where there is no CUDA: a gradient scaler for it disables itself.
    patches.set(torch.cuda.amp.common, "amp_definitely_not_available", lambda: True)
    grad_scaler = sys.modules["torch.amp.grad_scaler"]
    plain_scaler = torch.amp.GradScaler.__init__

    def scaler_init(scaler: Any, device: str = "cuda", *args: Any, **kwargs: Any) -> None:
        if device in _NOT_HERE:
            kwargs["enabled"] = False
            args = args[:4]
        plain_scaler(scaler, "cpu" if device in _NOT_HERE else device, *args, **kwargs)

    patches.set(grad_scaler.GradScaler, "__init__", scaler_init)


class _Nothing:
    """A stream or an event on a device that is always done."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.device = CPU
        self.cuda_stream = 0
        self.stream_id = 0

    def __enter__(self) -> _Nothing:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def query(self) -> bool:
        """Say that everything is done."""
        return True

    def elapsed_time(self, other: object) -> float:
        """Return a time that can be divided by."""
        return 1.0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: None


def _install_cuda(patches: Patches, pretends: bool) -> None:
    nothing: dict[str, Any] = dict.fromkeys(
        (
            *("synchronize", "empty_cache", "set_device", "init", "_lazy_init", "_lazy_call", "ipc_collect"),
            *("manual_seed", "manual_seed_all", "seed", "seed_all", "set_rng_state", "set_rng_state_all"),
            *("reset_peak_memory_stats", "reset_max_memory_allocated", "reset_accumulated_memory_stats"),
            *("reset_max_memory_cached", "set_per_process_memory_fraction", "set_stream", "set_sync_debug_mode"),
        ),
        lambda *args, **kwargs: None,
    )
    answers: dict[str, Any] = {
        **nothing,
        **{name: _answer(0) for name in ("memory_allocated", "max_memory_allocated", "memory_reserved")},
        **{name: _answer(0) for name in ("max_memory_reserved", "memory_cached", "max_memory_cached")},
        **{name: _answer(0) for name in ("current_device", "utilization", "memory_usage", "initial_seed")},
        "memory_stats": _answer({}),
        "memory_summary": _answer(""),
        "mem_get_info": _answer((_MEMORY_BYTES, _MEMORY_BYTES)),
        "get_rng_state": lambda *args, **kwargs: torch.get_rng_state(),
        "get_rng_state_all": lambda *args, **kwargs: [],
        **dict.fromkeys(("Event", "Stream", "current_stream", "default_stream", "stream", "device"), _Nothing),
        "is_available": _answer(pretends),
        "is_initialized": _answer(pretends),
        "device_count": _answer(int(pretends)),
        "is_bf16_supported": _answer(pretends),
        "get_device_name": _answer("CPU in place of a GPU"),
        "get_device_capability": _answer((8, 0)),
        "get_device_properties": _answer(
            types.SimpleNamespace(
                name="CPU in place of a GPU",
                major=8,
                minor=0,
                total_memory=_MEMORY_BYTES,
                multi_processor_count=108,
                warp_size=32,
                gcnArchName="",
            )
        ),
    }
    if pretends:
        # What a build of torch for CPUs has no name for, and libraries look for where they are told of a GPU.
        for name, value in ANSWERS.items():
            if not hasattr(torch._C, name):
                patches.set(torch._C, name, _answer(value))
    for package in ("torch.cuda", "torch.accelerator"):
        for name in sorted(sys.modules):
            if name != package and not name.startswith(f"{package}."):
                continue
            module = sys.modules[name]
            for attribute in answers.keys() & module.__dict__.keys():
                if not isinstance(module.__dict__[attribute], types.ModuleType):
                    patches.set(module, attribute, answers[attribute])
    patches.set(torch.accelerator, "is_available", _answer(pretends))
    # Its name is made a device of the CPU's wherever one is used.
    patches.set(torch.accelerator, "current_accelerator", _answer(torch._C.device("cuda") if pretends else None))
    for name in ("set_device_index", "set_device_idx"):
        patches.set(torch.accelerator, name, _answer(None))
    for name in ("current_device_index", "current_device_idx"):
        patches.set(torch.accelerator, name, _answer(0))
    patches.set(torch.backends.mps, "is_available", _answer(False))


def _answer(value: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: value
