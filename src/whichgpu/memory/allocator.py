"""PyTorch's caching allocator of device memory, its rules without its memory.

Requests of at most 1 MiB are cut from segments of 2 MiB, those below 10 MiB from segments of 20 MiB; larger ones get
a segment of their own, a multiple of 2 MiB. A request takes the smallest free block that holds it, of two as large the
one at the lower address; what is left of a block becomes a free block of its own where that is worth it; free
neighbours join. Segments go back to the driver only where a request would fail otherwise.

Leaves out: blocks waiting for other streams, garbage collection by threshold, private pools of CUDA graphs.
Source: c10/cuda/CUDACachingAllocator.cpp of torch 2.13; these rules are as old as 1.8, expandable segments as 2.1.
"""

from __future__ import annotations

from collections.abc import Iterator

from whichgpu.memory.allocator_options import AllocatorOptions
from whichgpu.memory.pool import Block, Pool
from whichgpu.units import KIB, MIB

MIN_BLOCK_BYTES = KIB // 2
SMALL_REQUEST_BYTES = MIB
SMALL_SEGMENT_BYTES = 2 * MIB
LARGE_SEGMENT_BYTES = 20 * MIB
OWN_SEGMENT_FROM_BYTES = 10 * MIB
ROUND_SEGMENT_BYTES = 2 * MIB
# Far behind any address of the small pool, and the beginning of a page.
_LARGE_POOL_ADDRESS = LARGE_SEGMENT_BYTES * 2**36


class OutOfDeviceMemory(Exception):  # noqa: N818
    """A request that could not be met.

    Attributes:
        requested_bytes: The request, rounded.
        reserved_bytes: What the allocator held by then.
    """

    def __init__(self, requested_bytes: int, reserved_bytes: int) -> None:
        super().__init__(f"no room for {requested_bytes} bytes beside {reserved_bytes} reserved")
        self.requested_bytes = requested_bytes
        self.reserved_bytes = reserved_bytes


class CachingAllocator:
    """The allocator of one device, on one stream.

    Attributes:
        allocated_bytes: Of the blocks that tensors hold, as torch.cuda.memory_allocated counts them.
        reserved_bytes: Of all segments, as torch.cuda.memory_reserved counts them.
        peak_allocated_bytes: The most so far.
        peak_reserved_bytes: The most so far.
        retries: How often segments had to be given back to meet a request.

    Args:
        limit_bytes: What all segments may take together; None for no limit.
        options: How memory is cut.
    """

    def __init__(self, limit_bytes: int | None = None, options: AllocatorOptions | None = None) -> None:
        self.limit_bytes = limit_bytes
        self.options = options or AllocatorOptions()
        self.allocated_bytes = self.reserved_bytes = 0
        self.peak_allocated_bytes = self.peak_reserved_bytes = 0
        self.retries = 0
        self._small, self._large = Pool(True), Pool(False)
        self._next_address = 0

    def allocate(self, nbytes: int) -> Block:
        """Return a block for a request of `nbytes`, 1 or more.

        Raises:
            OutOfDeviceMemory: If the limit leaves no room even after all free segments were given back.
        """
        size = self.rounded(nbytes)
        pool = self._small if size <= SMALL_REQUEST_BYTES else self._large
        block = self._find(pool, size) or self._reserve(pool, size)
        if block is None:
            self.retries += 1
            self._release(size)
            block = self._reserve(pool, size)
            if block is None:
                raise OutOfDeviceMemory(size, self.reserved_bytes)
        if self._is_split(block, size):
            self._split(block, size)
        block.allocated = True
        self.allocated_bytes += block.size
        if self.allocated_bytes > self.peak_allocated_bytes:
            self.peak_allocated_bytes = self.allocated_bytes
        return block

    def free(self, block: Block) -> None:
        """Take a block back; it joins its free neighbours."""
        self.allocated_bytes -= block.size
        block.allocated = False
        pool = block.pool
        before, after = block.previous, block.next
        if before is not None and not before.allocated:
            pool.remove(before)
            block.address = before.address
            block.size += before.size
            block.previous = before.previous
            if before.previous is not None:
                before.previous.next = block
        if after is not None and not after.allocated:
            pool.remove(after)
            block.size += after.size
            block.next = after.next
            if after.next is not None:
                after.next.previous = block
            if pool.tail is after:
                pool.tail = block
        pool.insert(block)

    def rounded(self, nbytes: int) -> int:
        """Return the size of the block a request of `nbytes` asks for."""
        if nbytes < MIN_BLOCK_BYTES:
            return MIN_BLOCK_BYTES
        divisions = self.options.roundup_power2_divisions
        if divisions > 1 and nbytes > MIN_BLOCK_BYTES * divisions:
            power = 1 << (nbytes.bit_length() - 1)
            if nbytes == power:
                return nbytes
            step = power // divisions
            return -(-nbytes // step) * step
        return -(-nbytes // MIN_BLOCK_BYTES) * MIN_BLOCK_BYTES

    def free_blocks(self) -> Iterator[tuple[int, int]]:
        """Yield the address and size of every free block, those of the small pool first, each pool's by size."""
        for pool in (self._small, self._large):
            for size, address in pool.free:
                yield address, size

    def _find(self, pool: Pool, size: int) -> Block | None:
        """Return the smallest free block that holds `size`, taken out of its pool."""
        block = pool.smallest(size)
        if block is None:
            return None
        most, found = self.options.max_split_bytes, block.size
        if most is not None and ((size < most <= found) or (size >= most and found >= size + LARGE_SEGMENT_BYTES)):
            return None
        pool.remove(block)
        return block

    def _reserve(self, pool: Pool, size: int) -> Block | None:
        """Return a block from the driver, or None if there is no room."""
        if self.options.expandable_segments:
            return self._expand(pool, size)
        segment = segment_bytes(size)
        if not self._may_take(segment):
            return None
        self._take(segment)
        block = Block(segment, self._next_address, pool)
        self._next_address += segment
        return block

    def _expand(self, pool: Pool, size: int) -> Block | None:
        """Return a block at the end of a pool's expandable segment, which grows by whole pages."""
        page = page_bytes(pool)
        tail = pool.tail
        there = tail.size if tail is not None and not tail.allocated else 0
        growth = -(-(size - there) // page) * page
        if not self._may_take(growth):
            return None
        self._take(growth)
        if tail is not None and there:
            pool.remove(tail)
            tail.size += growth
            return tail
        # The addresses of the two pools never meet: each segment has room for the whole device.
        start = tail.address + tail.size if tail is not None else (0 if pool.is_small else _LARGE_POOL_ADDRESS)
        block = Block(growth, start, pool)
        if tail is not None:
            tail.next, block.previous = block, tail
        pool.tail = block
        return block

    def _may_take(self, nbytes: int) -> bool:
        return self.limit_bytes is None or self.reserved_bytes + nbytes <= self.limit_bytes

    def _take(self, nbytes: int) -> None:
        self.reserved_bytes += nbytes
        if self.reserved_bytes > self.peak_reserved_bytes:
            self.peak_reserved_bytes = self.reserved_bytes

    def _is_split(self, block: Block, size: int) -> bool:
        left = block.size - size
        if block.pool.is_small or self.options.expandable_segments:
            return left >= MIN_BLOCK_BYTES
        most = self.options.max_split_bytes
        return left > SMALL_REQUEST_BYTES and (most is None or size < most)

    def _split(self, block: Block, size: int) -> None:
        rest = Block(block.size - size, block.address + size, block.pool)
        rest.previous, rest.next = block, block.next
        if block.next is not None:
            block.next.previous = rest
        block.next, block.size = rest, size
        if block.pool.tail is block:
            block.pool.tail = rest
        block.pool.insert(rest)

    def _release(self, size: int) -> None:
        """Give segments back that hold no tensor: with a split limit first those alone that make room for `size`."""
        most = self.options.max_split_bytes
        if most is not None and not self.options.expandable_segments:
            wanted = max(size, most)
            unused = [b for b in self._large.at.values() if b.is_whole and b.size >= most]
            for block in sorted(unused, key=lambda b: (b.size < wanted, b.size if b.size >= wanted else -b.size)):
                self._give_back(block)
                if self._may_take(segment_bytes(size)):
                    return
        for pool in (self._large, self._small):
            if self.options.expandable_segments:
                self.reserved_bytes -= pool.unmap(page_bytes(pool))
                continue
            for block in [b for b in pool.at.values() if b.is_whole]:
                self._give_back(block)

    def _give_back(self, block: Block) -> None:
        block.pool.remove(block)
        self.reserved_bytes -= block.size


def segment_bytes(size: int) -> int:
    """Return the size of the segment that a rounded request is cut from."""
    if size <= SMALL_REQUEST_BYTES:
        return SMALL_SEGMENT_BYTES
    if size < OWN_SEGMENT_FROM_BYTES:
        return LARGE_SEGMENT_BYTES
    return -(-size // ROUND_SEGMENT_BYTES) * ROUND_SEGMENT_BYTES


def page_bytes(pool: Pool) -> int:
    """Return by how much an expandable segment of `pool` grows."""
    return SMALL_SEGMENT_BYTES if pool.is_small else LARGE_SEGMENT_BYTES
