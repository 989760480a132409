"""The largest batch that fits a device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from whichgpu.devices.device import Device
from whichgpu.errors import WhichGpuError
from whichgpu.fit.family import Family
from whichgpu.fit.plan import Outcome, Plan, carried_out
from whichgpu.memory import AllocatorOptions

# Above this nobody's batch lies.
_MOST = 1_000_000
# Downwards from the largest batch in steps of one part in so many, until one fits surely.
_STEPS_DOWN = 16
# A fresh capture and the straight line may differ by rounding; by more than this, the line is not to be trusted.
_AGREES = 0.005


@dataclass(frozen=True, slots=True)
class Largest:
    """The largest batch that fits.

    Attributes:
        batch: It; 0 if not even one sample fits.
        outcome: What it needs; None if none fits.
        confirmation: How far it is to be trusted, in words.
        ends_data: Whether it is all samples of an epoch, and memory would allow more.
        sure: The largest whose interval of memory fits with its upper end, too; 0 if none does.
    """

    batch: int
    outcome: Outcome | None
    confirmation: str
    sure: int = 0
    ends_data: bool = False


def largest_batch(
    family: Family, device: Device, options: AllocatorOptions | None = None, *, confirm: bool = True
) -> Largest:
    """Return the largest batch of `family` that fits `device`.

    Found by growing and halving a bracket on batches whose sizes lie on the straight line through two captures; then
    the job is captured at that batch where that can be done.

    Args:
        family: The job.
        device: Where; its memory is known.
        options: How the allocator cuts memory.
        confirm: Whether to capture it anew.

    Raises:
        OptionError: If the batch of the job is fixed.
    """
    # All is counted in units of the batch here.
    known: dict[int, Outcome] = {}
    unit = family.unit

    def fits(count: int) -> bool:
        if count not in known:
            known[count] = carried_out(family, Plan(), device, options, count * unit, is_timed=False)
        return known[count].memory.fits is True

    data = family.at(family.batch, family.precision).samples_per_epoch
    start = -(-family.batch // unit)
    most = _MOST if data is None else min(max(data // unit, start), _MOST)
    low, high = _bracket(start, fits, known, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    if low == 0:
        return Largest(0, None, "")
    batch = low * unit
    said = _confirmed(family, batch, known[low], device, options) if confirm else "Not captured anew to confirm it."
    return Largest(
        batch=batch,
        outcome=carried_out(family, Plan(), device, options, batch),
        confirmation=said,
        sure=_sure(low, fits, known) * unit,
        ends_data=data is not None and low == data // unit,
    )


def _sure(largest: int, fits: Callable[[int], bool], known: dict[int, Outcome]) -> int:
    """Return the largest batch whose interval fits, found by halving between 0 and the largest that fits."""
    low, high = 0, largest + 1
    # The interval's upper end is a fixed share above the guess, so that the answer lies a little below.
    at = largest
    while high - low > 1:
        fits(at)
        low, high = (low, at) if known[at].memory.is_close else (at, high)
        at = max(low + 1, high - max(1, high // _STEPS_DOWN)) if low == 0 else (low + high) // 2
    return low


def _bracket(start: int, fits: Callable[[int], bool], known: dict[int, Outcome], most: int) -> tuple[int, int]:
    """Return a batch that fits and one that does not, near each other; 0 stands for none that fits.

    `most` and the next stand for all that are larger.
    """
    if not fits(start) and not fits(1):
        return 0, 1
    other = 1 if not fits(start) else 2 * start
    fits(other)
    small, large = sorted((start, other))
    grown = known[large].memory.allocated_bytes - known[small].memory.allocated_bytes
    each = max(grown / (large - small), 1.0)
    left = (known[small].memory.usable_bytes or 0) - known[small].memory.device_bytes
    guess = min(max(int(small + left / each), 1), most)
    low, high, width = 0, most + 1, max(1, guess // 32)
    at = guess
    while high - low > 2 * width or low == 0 or high > most:
        if fits(at):
            low = at
            if at >= most:
                return most, most + 1
            at = min(at + width, high - 1, most)
        else:
            high = at
            at = max(at - width, low + 1)
        if high - low <= 1:
            break
        width *= 2
    return low, high


def _confirmed(family: Family, batch: int, line: Outcome, device: Device, options: AllocatorOptions | None) -> str:
    from whichgpu.memory import GraphMemory
    from whichgpu.memory.parallel import per_process

    try:
        job = family.captured(batch)
    except WhichGpuError as error:
        return f"Not confirmed: a capture at this batch failed: {error}"
    if job is None:
        return "Not confirmed: the job cannot be captured at this batch here."
    if job.samples_per_step != batch:
        return f"Not confirmed: captured at this batch, a step has {job.samples_per_step:,} samples."
    graph, processes = per_process(job)
    found = GraphMemory(graph, options, processes).on(device)
    off = found.allocated_bytes / line.memory.allocated_bytes - 1
    share = f"{abs(off):.1%}".replace("%", " %")
    if off > _AGREES:
        return f"A capture at this batch needs {share} more and {'fits' if found.fits else 'does not fit'}."
    if off < -_AGREES:
        return f"A capture at this batch needs {share} less: the job's data may not have so large a batch."
    return "Confirmed by a capture at this batch."
