"""What memory a step needs on a device: the caching allocator replayed, what lies beside it, and whether it fits."""

from whichgpu.memory.allocator_options import AllocatorOptions
from whichgpu.memory.footprint import Footprint, GraphMemory
from whichgpu.memory.footprint import footprint as memory_footprint
from whichgpu.memory.holders import HOLDERS, Holder, Timeline

__all__ = ["HOLDERS", "AllocatorOptions", "Footprint", "GraphMemory", "Holder", "Timeline", "memory_footprint"]
