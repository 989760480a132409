"""Free blocks of device memory: the smallest that suffices is found, pages of an expandable segment given back."""

from __future__ import annotations

from bisect import bisect_left, insort
from itertools import pairwise


class Block:
    """A piece of a segment.

    Attributes:
        size: In bytes.
        address: Where it begins; only the order of addresses means something.
        pool: The pool it belongs to.
        allocated: Whether a tensor holds it.
        previous: Its left neighbour in the segment.
        next: Its right neighbour.
    """

    __slots__ = ("address", "allocated", "next", "pool", "previous", "size")

    def __init__(self, size: int, address: int, pool: Pool) -> None:
        self.size = size
        self.address = address
        self.pool = pool
        self.allocated = False
        self.previous: Block | None = None
        self.next: Block | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it is all of its segment."""
        return self.previous is None and self.next is None


class Pool:
    """The free blocks of small or of large requests, smallest first.

    Attributes:
        is_small: Whether requests of at most 1 MiB are cut from it.
        free: Size and address of each block, in order.
        at: The blocks by address.
        tail: The last block of its expandable segment, free or not; None without one.
    """

    __slots__ = ("at", "free", "is_small", "tail")

    def __init__(self, is_small: bool) -> None:
        self.is_small = is_small
        self.free: list[tuple[int, int]] = []
        self.at: dict[int, Block] = {}
        self.tail: Block | None = None

    def smallest(self, size: int) -> Block | None:
        """Return the smallest block of at least `size` bytes, of two the one at the lower address; None without one."""
        index = bisect_left(self.free, (size, -1))
        return None if index == len(self.free) else self.at[self.free[index][1]]

    def insert(self, block: Block) -> None:
        """Put a free block in."""
        insort(self.free, (block.size, block.address))
        self.at[block.address] = block

    def remove(self, block: Block) -> None:
        """Take a block out."""
        del self.free[bisect_left(self.free, (block.size, block.address))]
        del self.at[block.address]

    def unmap(self, page: int) -> int:
        """Give back the pages of `page` bytes of its expandable segment in which nothing lies, and return their bytes.

        PyTorch may later map pages in the middle again where it would else add some at the end: as many bytes.
        """
        given = 0
        for block in list(self.at.values()):
            end = block.address + block.size
            first, last = -(-block.address // page) * page, end // page * page
            if last <= first:
                continue
            self.remove(block)
            given += last - first
            chain: list[Block | None] = [block.previous]
            if first > block.address:
                left = Block(first - block.address, block.address, self)
                self.insert(left)
                chain.append(left)
            if self.tail is block:  # whose end is the end of a page
                self.tail = chain[-1]
            else:
                hole = Block(last - first, first, self)
                hole.allocated = True  # nothing may join across it
                chain.append(hole)
                if end > last:
                    right = Block(end - last, last, self)
                    self.insert(right)
                    chain.append(right)
            for before, after in pairwise([*chain, block.next]):
                if before is not None:
                    before.next = after
                if after is not None:
                    after.previous = before
        return given
