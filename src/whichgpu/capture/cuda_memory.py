"""What torch.cuda tells of the memory of the phantom GPU: its count of storages, in the form of torch's allocator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from whichgpu.capture.storages import Storages
from whichgpu.units import GIB

# More than any model: running out of memory is for the estimate to say, not for the capture to stop at.
MEMORY_BYTES = 1024 * GIB

_COUNTED = ("allocated_bytes", "active_bytes", "requested_bytes", "reserved_bytes")
_ZERO = (
    *("inactive_split_bytes", "allocation", "active", "segment", "inactive_split"),
    *("oversize_allocations", "oversize_segments"),
)
_EVENTS = ("num_alloc_retries", "num_ooms", "num_sync_all_streams", "num_device_alloc", "num_device_free")


def nested_stats(storages: Storages) -> dict[str, Any]:
    """Return torch's nested statistics, as if every storage had a block of its own size."""
    used = {
        "current": storages.allocated_bytes,
        "peak": storages.peak_bytes,
        "allocated": storages.peak_bytes,
        "freed": storages.peak_bytes - storages.allocated_bytes,
    }
    none = dict.fromkeys(used, 0)
    stats: dict[str, Any] = {name: {"all": used, "large_pool": used, "small_pool": none} for name in _COUNTED}
    stats |= {name: {"all": none, "large_pool": none, "small_pool": none} for name in _ZERO}
    stats["oversize_allocations"] = stats["oversize_segments"] = none
    stats |= dict.fromkeys(_EVENTS, 0)
    stats["max_split_size"] = -1
    return stats


def answers(storages: Storages) -> dict[str, Callable[..., Any]]:
    """Return what replaces functions of torch.cuda and torch.cuda.memory."""

    def allocated(*args: Any, **kwargs: Any) -> int:
        return storages.allocated_bytes

    def peak(*args: Any, **kwargs: Any) -> int:
        return storages.peak_bytes

    def reset_peak(*args: Any, **kwargs: Any) -> None:
        storages.reset_peak()

    def nothing(*args: Any, **kwargs: Any) -> None:
        pass

    def snapshot(*args: Any, **kwargs: Any) -> list[Any]:
        return []

    return {
        "memory_stats_as_nested_dict": lambda device=None: nested_stats(storages),
        "host_memory_stats_as_nested_dict": dict,
        "memory_snapshot": snapshot,
        "_snapshot": lambda *args, **kwargs: {"segments": [], "device_traces": []},
        "_dump_snapshot": nothing,
        "_record_memory_history": nothing,
        **dict.fromkeys(("memory_allocated", "memory_reserved", "memory_cached"), allocated),
        **dict.fromkeys(("max_memory_allocated", "max_memory_reserved", "max_memory_cached"), peak),
        **dict.fromkeys(
            ("reset_peak_memory_stats", "reset_max_memory_allocated", "reset_max_memory_cached"), reset_peak
        ),
        **dict.fromkeys(
            (
                *("empty_cache", "empty_host_cache", "reset_accumulated_memory_stats", "caching_allocator_enable"),
                *("reset_peak_host_memory_stats", "reset_accumulated_host_memory_stats"),
                *("set_per_process_memory_fraction", "caching_allocator_delete", "change_current_allocator"),
            ),
            nothing,
        ),
        "get_per_process_memory_fraction": lambda device=None: 1.0,
        "get_allocator_backend": lambda: "native",
        "list_gpu_processes": lambda device=None: "no processes are running",
        "mem_get_info": lambda device=None: (MEMORY_BYTES - storages.allocated_bytes, MEMORY_BYTES),
        "get_memory_info": lambda device_index=None: (MEMORY_BYTES - storages.allocated_bytes, MEMORY_BYTES),
        "device_memory_used": allocated,
    }
