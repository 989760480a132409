"""The settings of PyTorch's caching allocator that decide how memory is cut, as PYTORCH_ALLOC_CONF gives them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from whichgpu.errors import OptionError
from whichgpu.units import MIB

_SETTINGS = ("expandable_segments", "max_split_size_mb", "roundup_power2_divisions")
# What cuts nothing. Source: c10/core/AllocatorConfig.h and c10/cuda/CUDAAllocatorConfig.h of torch 2.13.
_OTHER_SETTINGS = (
    *("backend", "garbage_collection_threshold", "graph_capture_record_stream_reuse", "per_process_memory_fraction"),
    *("pinned_free_catch_all", "pinned_max_cached_size_mb", "pinned_max_round_threshold_mb"),
    *("pinned_num_register_threads", "pinned_reserve_segment_size_mb", "pinned_use_background_threads"),
    *("pinned_use_cuda_host_register", "release_lock_on_cudamalloc", "throw_on_cudamalloc_oom"),
)


@dataclass(frozen=True, slots=True)
class AllocatorOptions:
    """Settings of the allocator; the values here are PyTorch's own.

    Attributes:
        expandable_segments: Whether each pool is one segment that grows, rather than many of fixed size.
        max_split_bytes: Blocks larger than this are never split; None for no limit.
        roundup_power2_divisions: Requests are rounded up to one of so many steps between powers of two; 0 for the
            nearest multiple of 512 bytes.
    """

    expandable_segments: bool = False
    max_split_bytes: int | None = None
    roundup_power2_divisions: int = 0

    @classmethod
    def parse(cls, text: str) -> AllocatorOptions:
        """Return the settings of a value of PYTORCH_ALLOC_CONF: "expandable_segments:True,max_split_size_mb:128".

        Settings that do not change how memory is cut are passed over.

        Raises:
            OptionError: If a setting is not known, or its value not what it takes.
        """
        options = cls()
        for part in filter(None, (p.strip() for p in text.split(","))):
            name, _, value = part.partition(":")
            if name == "expandable_segments":
                if value not in ("True", "False"):
                    raise _wrong(part, "True or False")
                options = replace(options, expandable_segments=value == "True")
            elif name == "max_split_size_mb":
                if not value.isdecimal() or int(value) <= 20:
                    raise _wrong(part, "a whole number above 20, the allocator's least")
                options = replace(options, max_split_bytes=int(value) * MIB)
            elif name == "roundup_power2_divisions":
                if not value.isdecimal() or int(value).bit_count() > 1:
                    raise _wrong(part, "one power of two for all sizes")
                options = replace(options, roundup_power2_divisions=int(value))
            elif name not in _OTHER_SETTINGS:
                raise _wrong(part, f"one of {', '.join((*_SETTINGS, *_OTHER_SETTINGS))}")
        return options


def _wrong(part: str, expected: str) -> OptionError:
    return OptionError(f"Allocator setting {part!r}; expected {expected}.")
