"""Requests written by hand from the rules in c10/cuda/CUDACachingAllocator.cpp, and what must come of them.

Sizes and addresses are worked out on paper, in the order torch.cuda.memory._snapshot would tell them; nothing here is
what the code printed.
"""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whichgpu.errors import OptionError
from whichgpu.memory.allocator import CachingAllocator, OutOfDeviceMemory, segment_bytes
from whichgpu.memory.allocator_options import AllocatorOptions

KIB, MIB = 1024, 1024**2
EXPANDABLE = AllocatorOptions(expandable_segments=True)


def after(*steps, limit=None, options=None):
    """Run steps: a number of bytes to ask for, or ("free", place of an earlier request)."""
    allocator = CachingAllocator(limit, options)
    blocks = []
    for step in steps:
        if isinstance(step, tuple):
            allocator.free(blocks[step[1]])
        else:
            blocks.append(allocator.allocate(step))
    return allocator, blocks


@pytest.mark.parametrize(
    ("request_bytes", "block"),
    [(1, 512), (512, 512), (513, 1024), (1000, 1024), (1_000_000, 1_000_448), (3 * MIB + 1, 3 * MIB + 512)],
)
def test_requests_are_rounded_up_to_512_bytes(request_bytes, block):
    allocator, _ = after(request_bytes)
    assert allocator.rounded(request_bytes) == block


@pytest.mark.parametrize(
    ("request_bytes", "segment"),
    [
        (1, 2 * MIB),
        (MIB, 2 * MIB),
        (MIB + 1, 20 * MIB),
        (10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB),
        (10 * MIB + 1, 12 * MIB),
        (33 * MIB, 34 * MIB),
    ],
)
def test_the_segment_a_first_request_is_cut_from(request_bytes, segment):
    allocator, _ = after(request_bytes)
    assert allocator.reserved_bytes == segment
    assert segment_bytes(allocator.rounded(request_bytes)) == segment


def test_small_requests_share_a_segment_until_it_is_full():
    # Two of 1 MiB fill 2 MiB; the third needs a segment of its own.
    assert after(MIB, MIB)[0].reserved_bytes == 2 * MIB
    assert after(MIB, MIB, 512)[0].reserved_bytes == 4 * MIB


def test_small_and_large_requests_never_share_a_segment():
    allocator, _ = after(2 * MIB, 512)
    assert allocator.reserved_bytes == 22 * MIB


def test_a_large_block_is_split_only_if_more_than_1_mib_is_left():
    # 20 MiB less 8 and 11 leaves 1 MiB: not more than 1 MiB, so it stays with the second block.
    allocator, blocks = after(8 * MIB, 11 * MIB)
    assert [b.size for b in blocks] == [8 * MIB, 12 * MIB]
    # Less 8 and 11 MiB - 512 leaves 1 MiB + 512, which is split off.
    allocator, blocks = after(8 * MIB, 11 * MIB - 512)
    assert [b.size for b in blocks] == [8 * MIB, 11 * MIB - 512]
    assert allocator.reserved_bytes == 20 * MIB
    allocator, blocks = after(9 * MIB, 9 * MIB, 2 * MIB - 512)
    # 20 - 9 = 11, 11 - 9 = 2; 2 MiB - 512 is cut from the rest without a split: 512 bytes are too few.
    assert [b.size for b in blocks] == [9 * MIB, 9 * MIB, 2 * MIB]
    assert allocator.reserved_bytes == 20 * MIB


def test_what_is_not_split_off_counts_as_allocated():
    # 19.5 MiB take a segment of 20 MiB whole: half a MiB is too little to split off.
    allocator, blocks = after(19 * MIB + 512 * KIB)
    assert blocks[0].size == allocator.allocated_bytes == 20 * MIB


def test_the_smallest_block_that_holds_the_request_is_taken():
    # Free blocks of 30 and 14 MiB: a request of 12 MiB takes the one of 14.
    allocator, blocks = after(30 * MIB, 14 * MIB, ("free", 0), ("free", 1), 12 * MIB)
    assert blocks[2].address == blocks[1].address
    assert allocator.reserved_bytes == 44 * MIB


def test_of_blocks_of_one_size_the_lower_address_is_taken():
    _, blocks = after(14 * MIB, 14 * MIB, ("free", 1), ("free", 0), 14 * MIB)
    assert blocks[2].address == blocks[0].address


def test_free_neighbours_join():
    # Three blocks of 6 MiB in one segment of 20; once all are free the segment is whole again and holds 20 MiB.
    allocator, _ = after(6 * MIB, 6 * MIB, 6 * MIB, ("free", 0), ("free", 2), ("free", 1))
    assert list(allocator.free_blocks()) == [(0, 20 * MIB)]
    assert allocator.allocated_bytes == 0
    allocator.allocate(20 * MIB)
    assert allocator.reserved_bytes == 20 * MIB


def test_blocks_that_do_not_touch_stay_apart():
    # 6 | 6 | 6 | 2: the first and third are free, and 10 MiB fit neither, so a new segment comes.
    allocator, _ = after(6 * MIB, 6 * MIB, 6 * MIB, ("free", 0), ("free", 2), 9 * MIB)
    assert allocator.reserved_bytes == 40 * MIB
    assert sorted(size for _, size in allocator.free_blocks()) == [6 * MIB, 8 * MIB, 11 * MIB]


def test_freed_memory_stays_reserved():
    allocator, _ = after(100 * MIB, ("free", 0))
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (0, 100 * MIB)


def test_peaks_are_remembered():
    allocator, _ = after(100 * MIB, ("free", 0), 50 * MIB)
    # 50 MiB are cut from the free 100.
    assert (allocator.peak_allocated_bytes, allocator.peak_reserved_bytes) == (100 * MIB, 100 * MIB)
    assert allocator.allocated_bytes == 50 * MIB


def test_where_there_is_no_room_free_segments_go_back_to_the_driver():
    # 60 MiB are free in one segment, 80 do not fit 100 beside it: it goes back.
    allocator, _ = after(60 * MIB, ("free", 0), 80 * MIB, limit=100 * MIB)
    assert allocator.reserved_bytes == 80 * MIB
    assert allocator.retries == 1


def test_a_segment_in_which_anything_lies_does_not_go_back():
    steps = (9 * MIB, 9 * MIB, ("free", 0), 90 * MIB)
    with pytest.raises(OutOfDeviceMemory) as caught:
        after(*steps, limit=100 * MIB)
    assert caught.value.requested_bytes == 90 * MIB
    assert caught.value.reserved_bytes == 20 * MIB
    assert after(*steps, limit=110 * MIB)[0].reserved_bytes == 110 * MIB


def test_fragmentation_may_leave_no_room_although_enough_is_free():
    # Segments of 40, 40, 40 MiB; the outer two hold 12 MiB each after a split. 56 free of 120, none larger than 40.
    steps = (
        *(40 * MIB, 40 * MIB, 40 * MIB),
        *(("free", 0), ("free", 2)),
        *(12 * MIB, 12 * MIB),
    )
    allocator, _ = after(*steps, limit=120 * MIB)
    free = sum(size for _, size in allocator.free_blocks())
    assert free == 56 * MIB
    with pytest.raises(OutOfDeviceMemory):
        allocator.allocate(56 * MIB)


def test_expandable_segments_do_not_fragment():
    # The same requests, in one segment that grows by 20 MiB: 56 MiB are found at its end after it grew.
    steps = (40 * MIB, 40 * MIB, 40 * MIB, ("free", 0), ("free", 1), ("free", 2), 12 * MIB, 100 * MIB)
    allocator, _ = after(*steps, options=EXPANDABLE)
    assert allocator.reserved_bytes == 120 * MIB
    assert after(*steps)[0].reserved_bytes == 220 * MIB


def test_an_expandable_segment_grows_by_what_its_free_end_lacks():
    # 15 of 20 MiB used; 25 more: 5 are there, 20 come.
    allocator, blocks = after(15 * MIB, 25 * MIB, options=EXPANDABLE)
    assert allocator.reserved_bytes == 40 * MIB
    assert blocks[1].address == blocks[0].address + 15 * MIB


def test_an_expandable_segment_is_split_to_the_last_512_bytes():
    allocator, blocks = after(20 * MIB - 512, 512, options=EXPANDABLE)
    # The small request has a pool of its own.
    assert blocks[0].size == 20 * MIB - 512
    assert allocator.reserved_bytes == 22 * MIB


def test_an_expandable_segment_gives_its_free_pages_back():
    # Pages of 20 MiB: 40 | 40 | 40, the middle one freed; 60 more fit 140 only if the hole's pages go back.
    steps = (40 * MIB, 40 * MIB, 40 * MIB, ("free", 1), 60 * MIB)
    allocator, blocks = after(*steps, limit=140 * MIB, options=EXPANDABLE)
    assert allocator.reserved_bytes == 140 * MIB
    assert blocks[3].address == blocks[2].address + 40 * MIB
    with pytest.raises(OutOfDeviceMemory):
        after(*steps, limit=139 * MIB, options=EXPANDABLE)


def test_roundup_by_divisions_of_powers_of_two():
    # 4 divisions between 2048 and 4096: 2560, 3072, 3584; up to 4 x 512 bytes the nearest 512 is taken.
    options = AllocatorOptions(roundup_power2_divisions=4)
    allocator = CachingAllocator(options=options)
    assert [allocator.rounded(n) for n in (1200, 3000, 4096, 5000)] == [1536, 3072, 4096, 5120]


def test_blocks_above_the_split_limit_are_not_split():
    options = AllocatorOptions(max_split_bytes=64 * MIB)
    # 100 MiB free; 30 MiB may not be cut from it, nor may 70: 100 is more than 70 + 20.
    assert after(100 * MIB, ("free", 0), 30 * MIB, options=options)[0].reserved_bytes == 130 * MIB
    assert after(100 * MIB, ("free", 0), 70 * MIB, options=options)[0].reserved_bytes == 170 * MIB
    # 90 takes it whole.
    allocator, blocks = after(100 * MIB, ("free", 0), 90 * MIB, options=options)
    assert (allocator.reserved_bytes, blocks[1].size) == (100 * MIB, 100 * MIB)


def test_options_are_read_as_pytorch_reads_them():
    text = "expandable_segments:True,max_split_size_mb:128,garbage_collection_threshold:0.8,roundup_power2_divisions:8"
    assert AllocatorOptions.parse(text) == AllocatorOptions(True, 128 * MIB, 8)
    assert AllocatorOptions.parse("") == AllocatorOptions()
    for wrong in (
        "expandable_segments:yes",
        "max_split_size_mb:20",
        "roundup_power2_divisions:3",
        "expandable_segment:True",
    ):
        with pytest.raises(OptionError, match=wrong):
            AllocatorOptions.parse(wrong)


requests = st.lists(st.one_of(st.integers(1, 64 * MIB), st.tuples(st.just("free"), st.integers(0, 30))), max_size=60)


@given(requests, st.sampled_from([AllocatorOptions(), EXPANDABLE, AllocatorOptions(max_split_bytes=32 * MIB)]))
def test_blocks_never_overlap_and_sums_add_up(steps, options):
    allocator = CachingAllocator(300 * MIB, options)
    held = []
    for step in steps:
        if isinstance(step, tuple):
            if step[1] < len(held):
                allocator.free(held.pop(step[1]))
        else:
            try:
                block = allocator.allocate(step)
            except OutOfDeviceMemory:
                continue
            assert block.size >= step
            held.append(block)
        spans = sorted((b.address, b.address + b.size) for b in held)
        spans += [(a, a + s) for a, s in allocator.free_blocks()]
        spans.sort()
        assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))
        assert allocator.allocated_bytes == sum(b.size for b in held)
        free = sum(size for _, size in allocator.free_blocks())
        assert allocator.reserved_bytes == allocator.allocated_bytes + free <= 300 * MIB
    for block in held:
        allocator.free(block)
    assert allocator.allocated_bytes == 0
