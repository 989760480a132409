"""torch's entry points to the CUDA driver: none of them may be reached while the phantom GPU stands for a real one.

A build of torch for CUDA has some hundred functions `torch._C._cuda_*`; on a machine without a driver each fails in its
own way, and on one with a GPU they would use it. Those a program comes upon are answered, the others raise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from whichgpu.capture.patches import Patches
from whichgpu.capture.phantom_tensor import CUDA
from whichgpu.errors import CaptureError

# Settings that can be read and written without a device, and memory pools, which the phantom GPU does without.
_HARMLESS = frozenset({"_cuda_CUDAAllocator", "_cuda_getCompiledVersion"})
_NOTHING = (
    *("_cuda_init", "_cuda_synchronize", "_cuda_setDevice", "_cuda_setStream", "_cuda_emptyCache", "_cuda_ipc_collect"),
    *("_cuda_clearCublasWorkspaces", "_cuda_set_sync_debug_mode", "_cuda_setMemoryFraction", "_cuda_sleep"),
    *("_cuda_setMemoryMetadata", "_cuda_record_memory_history", "_cuda_record_memory_history_legacy"),
    *("_cuda_beginAllocateToPool", "_cuda_beginAllocateCurrentThreadToPool", "_cuda_endAllocateToPool"),
    *("_cuda_releasePool", "_accelerator_synchronizeDevice", "_accelerator_emptyCache", "_accelerator_emptyHostCache"),
    *("_accelerator_setDeviceIndex", "_accelerator_setStream", "_accelerator_resetAccumulatedStats"),
    *("_accelerator_resetPeakStats", "_cuda_set_cudnn_benchmark_limit", "_cuda_cudaCachingAllocator_enable"),
    *("_cuda_tunableop_enable", "_cuda_tunableop_tuning_enable", "_cuda_tunableop_set_filename"),
    *("_cuda_tunableop_set_max_tuning_duration", "_cuda_tunableop_set_max_tuning_iterations"),
    *("_cuda_setCublasWorkspaceSize", "_cuda_setCublasLtWorkspaceSize", "_cuda_tunableop_set_rotating_buffer_size"),
    "_host_emptyCache",
    *("_cuda_record_untuned_enable", "_cuda_tunableop_set_numerical_check_tolerances"),
)
ANSWERS: dict[str, Any] = {
    "_cuda_getDevice": 0,
    "_cuda_getDeviceCount": 1,
    "_cuda_exchangeDevice": 0,
    "_cuda_maybeExchangeDevice": 0,
    "_cuda_getArchFlags": "sm_80",
    "_cuda_getAllocatorBackend": "native",
    "_cuda_canDeviceAccessPeer": False,
    "_cuda_get_sync_debug_mode": 0,
    "_cuda_getMemoryFraction": 1.0,
    "_cuda_getMemoryMetadata": "",
    "_cuda_hostMemoryStats": {},
    "_cuda_memorySnapshot": {"segments": [], "device_traces": []},
    "_cuda_isHistoryEnabled": False,
    "_cuda_isCurrentStreamCapturing": False,
    "_cuda_getCurrentRawStream": 0,
    "_cuda_getCurrentBlasHandle": 0,
    "_cuda_getCurrentSolverHandle": 0,
    "_cuda_getCublasWorkspaceSize": 0,
    "_cuda_getCublasLtWorkspaceSize": 0,
    "_cuda_get_cudnn_benchmark_limit": 10,
    "_cuda_cudaCachingAllocator_is_enabled": True,
    "_cuda_record_untuned_is_enabled": False,
    "_cuda_tunableop_is_enabled": False,
    "_cuda_tunableop_tuning_is_enabled": False,
    "_cuda_tunableop_get_filename": "",
    "_cuda_tunableop_get_max_tuning_duration": 0,
    "_cuda_tunableop_get_max_tuning_iterations": 0,
    "_cuda_tunableop_get_rotating_buffer_size": 0,
    "_cuda_tunableop_get_results": (),
    "_cuda_tunableop_get_validators": (),
    "_accelerator_getDeviceIndex": 0,
    "_accelerator_exchangeDevice": 0,
    "_accelerator_maybeExchangeDevice": 0,
    "_accelerator_isAllocatorInitialized": False,
    "_accelerator_getDeviceCapability": {"supported_dtypes": set()},
    # torch asks for it when it has to choose a device by itself: autocast, checkpoints, scalers.
    "_accelerator_getAccelerator": CUDA,
    "_get_accelerator": CUDA,
}


def install(patches: Patches) -> None:
    """Answer the entry points a program comes upon, and let the others raise."""
    answers = dict.fromkeys(_NOTHING) | ANSWERS
    for name in sorted(n for n in dir(torch._C) if n.startswith("_cuda_")):
        if name not in answers and name not in _HARMLESS:
            patches.set(torch._C, name, _refuse(name))
    for name, value in answers.items():
        patches.set(torch._C, name, _answer(value))


def _answer(value: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: value


def _refuse(name: str) -> Callable[..., Any]:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise CaptureError(
            f"torch._C.{name} was called, which asks the CUDA driver; the phantom GPU has no answer to it. "
            "Leave the call out while capturing, or guard it by an option of the script."
        )

    return refuse
