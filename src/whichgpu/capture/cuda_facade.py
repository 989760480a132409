"""torch.cuda and torch.accelerator as a program sees them on a machine with one GPU.

The GPU they speak of is of compute capability 8.0: it has what training on any current GPU uses (bfloat16, fused
attention), and nothing that only newer ones have, so that libraries take the paths common to all of them.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import torch

from whichgpu.capture.patches import Patches
from whichgpu.capture.phantom_tensor import CUDA
from whichgpu.capture.storages import Storages
from whichgpu.units import GIB, MIB

NAME = "whichgpu phantom GPU"
CAPABILITY = (8, 0)
CUDNN_VERSION = 91000
# More than any model: running out of memory is for the estimate to say, not for the capture to stop at.
MEMORY_BYTES = 1024 * GIB


class Event:
    """An event of a device that is always ready."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def record(self, stream: Any = None) -> None:
        """Do nothing."""

    def wait(self, stream: Any = None) -> None:
        """Do nothing."""

    def synchronize(self) -> None:
        """Do nothing."""

    def query(self) -> bool:
        """Return that it has happened."""
        return True

    def elapsed_time(self, end_event: Any) -> float:
        """Return a millisecond: a phantom has no time, and callers divide by it."""
        return 1.0


class Stream:
    """A stream of a device that does nothing."""

    device = CUDA
    device_index = 0
    cuda_stream = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def is_capturing(self) -> bool:
        """Return that no CUDA graph is being captured."""
        return False

    def wait_stream(self, stream: Any) -> None:
        """Do nothing."""

    def wait_event(self, event: Any) -> None:
        """Do nothing."""

    def record_event(self, event: Any = None) -> Any:
        """Return an event."""
        return event or Event()

    def synchronize(self) -> None:
        """Do nothing."""

    def query(self) -> bool:
        """Return that all work is done."""
        return True


def _answer(value: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: value


def install(patches: Patches, storages: Storages) -> None:
    """Replace what asks or tells the CUDA driver something."""
    properties = types.SimpleNamespace(
        name=NAME,
        major=CAPABILITY[0],
        minor=CAPABILITY[1],
        total_memory=MEMORY_BYTES,
        multi_processor_count=108,
        warp_size=32,
        max_threads_per_multi_processor=2048,
        regs_per_multiprocessor=65536,
        shared_memory_per_block=49152,
        shared_memory_per_block_optin=166912,
        L2_cache_size=40 * MIB,
        gcnArchName="",
        is_integrated=0,
        is_multi_gpu_board=0,
        uuid="",
    )
    nothing = _answer(None)
    stream = Stream()
    answers: dict[str, Callable[..., Any]] = dict.fromkeys(
        (
            "synchronize",
            "empty_cache",
            "reset_max_memory_allocated",
            "reset_accumulated_memory_stats",
            "set_device",
            "set_stream",
            "init",
            "_lazy_init",
            "_lazy_call",
            "ipc_collect",
            "manual_seed",
            "manual_seed_all",
            "seed",
            "seed_all",
            "set_rng_state",
            "set_rng_state_all",
            "set_per_process_memory_fraction",
        ),
        nothing,
    )
    answers |= {
        "is_available": _answer(True),
        "is_initialized": _answer(True),
        "is_bf16_supported": _answer(True),
        "is_tf32_supported": _answer(True),
        "is_current_stream_capturing": _answer(False),
        "device_count": _answer(1),
        "current_device": _answer(0),
        "get_device_capability": _answer(CAPABILITY),
        "get_device_name": _answer(NAME),
        "get_device_properties": _answer(properties),
        "get_arch_list": _answer([f"sm_{CAPABILITY[0]}{CAPABILITY[1]}"]),
        "current_stream": _answer(stream),
        "default_stream": _answer(stream),
        "stream": _answer(stream),
        "initial_seed": _answer(0),
        "get_rng_state": lambda *args, **kwargs: torch.zeros(16, dtype=torch.uint8),
        "get_rng_state_all": lambda *args, **kwargs: [torch.zeros(16, dtype=torch.uint8)],
        "mem_get_info": lambda *args, **kwargs: (MEMORY_BYTES - storages.allocated_bytes, MEMORY_BYTES),
        "memory_allocated": lambda *args, **kwargs: storages.allocated_bytes,
        "max_memory_allocated": lambda *args, **kwargs: storages.peak_bytes,
        "memory_reserved": lambda *args, **kwargs: storages.allocated_bytes,
        "max_memory_reserved": lambda *args, **kwargs: storages.peak_bytes,
        "reset_peak_memory_stats": lambda *args, **kwargs: storages.reset_peak(),
        "memory_stats": _answer({}),
        "memory_summary": _answer(""),
        "Event": Event,
        "Stream": Stream,
    }
    for name, answer in answers.items():
        if hasattr(torch.cuda, name):
            patches.set(torch.cuda, name, answer)
    accelerator = {
        "is_available": _answer(True),
        "device_count": _answer(1),
        "current_accelerator": _answer(torch.device("cuda")),
        "current_device_index": _answer(0),
        "current_device_idx": _answer(0),
        "set_device_index": nothing,
        "synchronize": nothing,
        "current_stream": _answer(stream),
        "set_stream": nothing,
        "empty_cache": nothing,
    }
    for name, answer in accelerator.items():
        if hasattr(torch.accelerator, name):
            patches.set(torch.accelerator, name, answer)
    patches.set(torch, "Generator", _generator_class())
    patches.set(torch.backends.cudnn, "is_available", _answer(True))
    patches.set(torch.backends.cudnn, "version", _answer(CUDNN_VERSION))
    # Asked only by recurrent layers that want to lay their weights out in one block, which needs cuDNN itself.
    patches.set(torch.backends.cudnn, "is_acceptable", _answer(False))


def _generator_class() -> Any:
    plain = torch.Generator

    class Meta(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, plain)

    class Generator(metaclass=Meta):
        """Makes generators; those of the phantom GPU live on the CPU and are never drawn from."""

        def __new__(cls, device: Any = "cpu") -> Any:
            kind = torch.device(device).type
            return plain("cpu" if kind == "cuda" else device)

    return Generator
