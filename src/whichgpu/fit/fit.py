"""Will it fit, how large a batch would, and what to do about it: a job on one device."""

from __future__ import annotations

from dataclasses import dataclass

from whichgpu.devices.device import Device, Vendor
from whichgpu.errors import OptionError
from whichgpu.fit.change import Change, cheapest, in_order
from whichgpu.fit.changes import Search
from whichgpu.fit.family import Family
from whichgpu.fit.largest import Largest, largest_batch
from whichgpu.fit.plan import Outcome, Plan, carried_out
from whichgpu.memory import AllocatorOptions, GraphMemory, Timeline
from whichgpu.memory.parallel import per_process
from whichgpu.memory.replay import NO_LIFETIMES


@dataclass(frozen=True, slots=True)
class Fit:
    """The answer for one job on one device.

    Attributes:
        job: The job's name.
        batch: Samples of one step.
        precision: What it trains in.
        device: Full name of the device.
        label: Its short name.
        vendor: Who designs it.
        now: The job as it is.
        timeline: Its memory over one step.
        largest: The largest batch that fits; None if the batch is fixed or the device's memory unknown.
        changes: What makes it need less memory, those that fit first; none were looked for where it surely fits.
        notes: What a reader must know.
    """

    job: str
    batch: int
    precision: str
    device: str
    label: str
    vendor: Vendor
    now: Outcome
    timeline: Timeline
    largest: Largest | None
    changes: tuple[Change, ...]
    notes: tuple[str, ...]

    @property
    def cheapest(self) -> Change | None:
        """The change that makes it fit, or surely fit, at the least cost; None if none does, or none is needed."""
        return cheapest(list(self.changes))


def fit(family: Family, device: Device, options: AllocatorOptions | None = None, *, confirm: bool = True) -> Fit:
    """Return whether `family` fits `device`, the largest batch that does, and what else would make it fit.

    Args:
        family: A job at any batch.
        device: Where it is to train; not a host processor.
        options: How the allocator cuts memory; PyTorch's defaults if not given.
        confirm: Whether the largest batch is confirmed by a capture, where that can be done.

    Raises:
        OptionError: If the device is a host processor.
        GraphError: If the job carries no lifetimes; the message says how to capture it again.
    """
    if device.is_cpu:
        raise OptionError(f"{device.name} is a host processor: it has the memory of its machine. Name a GPU.")
    job = family.at(family.batch, family.precision)
    if not job.graph.storages:
        raise OptionError(f"{job.name}: {NO_LIFETIMES}")
    now = carried_out(family, Plan(), device, options)
    notes = list(job.notes)
    if now.step_s is None:
        notes.append(
            f"{device.short_name} cannot train in {family.precision}: no times are told, and memory is what it would "
            "take if it could. --precision names another."
        )
    largest = None
    if now.memory.usable_bytes is None:
        notes.append(
            "How much memory the device has is not known: neither whether the step fits nor the largest batch."
        )
    elif family.fixed:
        notes.append(family.fixed)
    else:
        largest = largest_batch(family, device, options, confirm=confirm)
    changes: list[Change] = []
    if now.memory.fits is False or now.memory.is_close:
        search = Search(family, device, options, now)
        changes = search.alone()
        best = cheapest(changes)
        if now.memory.fits is False and (best is None or best.alters):
            enough = [change.outcome.plan for change in changes if change.fits]
            changes = in_order([*changes, *search.together(enough)])
    graph, processes = per_process(job)
    return Fit(
        job=job.name,
        batch=family.batch,
        precision=family.precision,
        device=device.name,
        label=device.short_name,
        vendor=device.vendor,
        now=now,
        timeline=GraphMemory(graph, options, processes).timeline(device),
        largest=largest,
        changes=tuple(changes),
        notes=tuple(notes),
    )
