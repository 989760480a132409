"""torch.cuda and torch.accelerator as a program sees them on a machine with one GPU.

The GPU they speak of is of compute capability 8.0: it has what training on any current GPU uses (bfloat16, fused
attention), and nothing that only newer ones have, so that libraries take the paths common to all of them.

A build of torch for CUDA would ask the driver, a build for CPUs refuses. So what a training script may call is answered
here, and what is left of torch's own entry points to the driver raises (`driver_calls`).
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch._dynamo

from whichgpu.capture import cuda_graphs, cuda_memory, driver_calls, streams
from whichgpu.capture.cuda_memory import MEMORY_BYTES
from whichgpu.capture.generators import Generator
from whichgpu.capture.patches import Patches
from whichgpu.capture.phantom_tensor import CUDA
from whichgpu.units import MIB

if TYPE_CHECKING:
    from whichgpu.capture.fake_device import FakeDevice

NAME = "whichgpu phantom GPU"
CAPABILITY = (8, 0)
CUDNN_VERSION = 91000
CUDA_VERSION = "12.8"
NCCL_VERSION = (2, 27, 3)
_ARCHITECTURE = f"sm_{CAPABILITY[0]}{CAPABILITY[1]}"

# What does nothing on a device that is always done.
_NOTHING = (
    *("synchronize", "set_device", "init", "_lazy_init", "_lazy_call", "ipc_collect", "set_sync_debug_mode"),
    *("manual_seed", "manual_seed_all", "seed", "seed_all", "set_rng_state", "set_rng_state_all", "check_error"),
)


def install(patches: Patches, device: FakeDevice, tell: Callable[[str], None]) -> None:
    """Let torch.cuda and torch.accelerator speak of the phantom GPU; `tell` takes notes for the reader of a result."""
    properties = _properties()
    # An answer of its own for each: torch.compile keeps a table of torch's functions, and wants no one of them twice.
    answers: dict[str, Any] = {name: _answer(None) for name in _NOTHING}
    answers |= streams.ANSWERS
    answers |= cuda_memory.answers(device.storages)
    answers |= {
        "is_available": _answer(True),
        "is_initialized": _answer(True),
        "_is_compiled": _answer(True),
        "is_bf16_supported": _answer(True),
        "is_tf32_supported": _answer(True),
        "is_current_stream_capturing": lambda: cuda_graphs.is_capturing(device),
        "device_count": _answer(1),
        "_device_count_nvml": _answer(1),
        "_device_count_amdsmi": _answer(1),
        "current_device": _answer(0),
        "_exchange_device": _answer(0),
        "_maybe_exchange_device": _answer(0),
        "get_device_capability": _answer(CAPABILITY),
        "get_device_name": _answer(NAME),
        "get_device_properties": _answer(properties),
        "get_arch_list": _answer([_ARCHITECTURE]),
        "get_gencode_flags": _answer(f"-gencode compute=compute_80,code={_ARCHITECTURE}"),
        "get_sync_debug_mode": _answer(0),
        "can_device_access_peer": _answer(False),
        "cudart": _answer(_Runtime()),
        "current_blas_handle": _answer(0),
        "current_solver_handle": _answer(0),
        # Sensors of a device that does nothing, read by loops that print them.
        **{name: _answer(0) for name in ("utilization", "memory_usage", "temperature", "power_draw", "clock_rate")},
        "initial_seed": _answer(0),
        "get_rng_state": lambda *args, **kwargs: torch.zeros(16, dtype=torch.uint8),
        "get_rng_state_all": lambda *args, **kwargs: [torch.zeros(16, dtype=torch.uint8)],
        "default_generators": (Generator("cuda"),),
        "CUDAGraph": cuda_graphs.graph_class(device, tell),
        "graph_pool_handle": _answer((0, 1)),
        "make_graphed_callables": cuda_graphs.make_graphed_callables,
        # Of torch.accelerator alone.
        "current_accelerator": _answer(torch.device("cuda")),
        **{name: _answer(0) for name in ("current_device_index", "current_device_idx")},
        **{name: _answer(None) for name in ("set_device_index", "set_device_idx")},
    }
    _replace(patches, "torch.cuda", answers)
    # There the capability is a table of number formats.
    _replace(patches, "torch.accelerator", {k: v for k, v in answers.items() if k != "get_device_capability"})
    driver_calls.install(patches)
    streams.install(patches)
    patches.set(torch, "Generator", Generator)
    patches.set(torch.cuda.nvtx, "_nvtx", _Profiler())
    patches.set(torch.cuda.nccl, "version", _answer(NCCL_VERSION))
    # These look after what torch.compile has made, which is nothing.
    for owner, name in (
        (torch.compiler, "cudagraph_mark_step_begin"),
        (torch.compiler, "reset"),
        (torch._dynamo, "reset"),
    ):
        patches.set(owner, name, _answer(None))
    patches.set(torch.backends.cuda, "is_built", _answer(True))
    patches.set(torch.backends.cuda, "cufft_plan_cache", _PlanCaches())
    patches.set(torch.backends.cudnn, "is_available", _answer(True))
    patches.set(torch.backends.cudnn, "version", _answer(CUDNN_VERSION))
    # Asked only by recurrent layers that want to lay their weights out in one block, which needs cuDNN itself.
    patches.set(torch.backends.cudnn, "is_acceptable", _answer(False))
    if torch.version.cuda is None:
        patches.set(torch.version, "cuda", CUDA_VERSION)


def _replace(patches: Patches, package: str, answers: dict[str, Any]) -> None:
    """Replace functions in every module of a package that has them: some import each other's."""
    for name in sorted(sys.modules):
        if name == package or name.startswith(f"{package}."):
            module = sys.modules[name]
            for attribute in answers.keys() & module.__dict__.keys():
                if not isinstance(module.__dict__[attribute], types.ModuleType):
                    patches.set(module, attribute, answers[attribute])


def _answer(value: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: value


def _properties() -> Any:
    return types.SimpleNamespace(
        name=NAME,
        major=CAPABILITY[0],
        minor=CAPABILITY[1],
        total_memory=MEMORY_BYTES,
        multi_processor_count=108,
        max_threads_per_multi_processor=2048,
        max_threads_per_block=1024,
        warp_size=32,
        regs_per_multiprocessor=65536,
        shared_memory_per_block=49152,
        shared_memory_per_block_optin=166912,
        shared_memory_per_multiprocessor=167936,
        L2_cache_size=40 * MIB,
        clock_rate=1_410_000,
        memory_clock_rate=1_215_000,
        memory_bus_width=5120,
        gcnArchName="",
        is_integrated=0,
        is_multi_gpu_board=0,
        pci_bus_id=0,
        pci_device_id=0,
        pci_domain_id=0,
        uuid="",
    )


class _Profiler:
    """Ranges and marks nobody looks at (NVTX)."""

    def __getattr__(self, name: str) -> Callable[..., int]:
        return _answer(0)


class _Runtime:
    """The CUDA runtime, whose every call succeeds and does nothing."""

    cudaError = types.SimpleNamespace(success=0)  # noqa: N815 (the name torch gives it)

    def cudaMemGetInfo(self, device: int = 0) -> tuple[int, int]:
        """Return free and total bytes."""
        return (MEMORY_BYTES, MEMORY_BYTES)

    def __getattr__(self, name: str) -> Callable[..., int]:
        if not name.startswith("cuda"):
            raise AttributeError(name)
        return _answer(0)


class _PlanCaches:
    """The caches of FFT plans, which hold none."""

    device = CUDA
    size = 0
    max_size = 4096

    def __getitem__(self, device: Any) -> _PlanCaches:
        return self

    def clear(self) -> None:
        """Do nothing."""
