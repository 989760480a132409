"""What calibration finds: one record a probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from whichgpu.graph import Op
from whichgpu.measure.calibration.probe import AnchorProbe


@dataclass(frozen=True, slots=True)
class Power:
    """Power and clocks while the device was kept at something.

    Attributes:
        seconds: How long it was.
        power_w: Mean power of the board.
        power_source: "energy counter" or "samples" of the power read now and then.
        sm_clock_hz: Median clock of the multiprocessors.
        sm_clock_low_hz: The lowest seen.
        memory_clock_hz: Median clock of the memory.
        temperature_c: At the end.
        throttled_by: Why the clock was held back at any time: "sw_power_cap".
        samples: How often they were read.
    """

    seconds: float
    power_w: float | None
    power_source: str
    sm_clock_hz: float | None
    sm_clock_low_hz: float | None
    memory_clock_hz: float | None
    temperature_c: float | None
    throttled_by: tuple[str, ...]
    samples: int


@dataclass(frozen=True, slots=True)
class KernelRecord:
    """Ops called on the device, and how long they took.

    Attributes:
        section: What it belongs to.
        name: One line for people.
        ops: As they were called, with what they returned.
        tf32: Whether float32 products and convolutions might run in TF32.
        cold: Whether operands came from memory, not from a cache.
        timed: "eager" as Python issues them, the host's time included where it is longer; "graph" for one CUDA graph,
            which has no host between kernels; "clock" on a device that computes in the host's own time.
        seconds: Time of the whole sequence once, median over blocks of calls.
        noise: Half the distance from the 10th to the 90th percentile of the blocks, as a part of the median.
        blocks: Blocks timed.
        calls: Calls of the sequence in each.
        burst_s: Where the device was kept at it: the time in the first moments, before power and heat slowed it.
        power: Where the device was kept at it: power and clocks.
    """

    section: str
    name: str
    ops: tuple[Op, ...]
    tf32: bool
    cold: bool
    timed: str
    seconds: float
    noise: float
    blocks: int
    calls: int
    burst_s: float | None = None
    power: Power | None = None


@dataclass(frozen=True, slots=True)
class TransferRecord:
    """A copy between host and device.

    Attributes:
        section: What it belongs to.
        name: One line for people.
        op: The copy.
        pinned: Whether the host's memory was page-locked.
        seconds: Until it was done, median.
        noise: As in `KernelRecord`.
    """

    section: str
    name: str
    op: Op
    pinned: bool
    seconds: float
    noise: float


@dataclass(frozen=True, slots=True)
class HostRecord:
    """Something the host does, and the time it takes to issue it, the device left alone.

    Attributes:
        section: What it belongs to.
        name: What it is.
        seconds: Of one call.
        noise: As in `KernelRecord`.
    """

    section: str
    name: str
    seconds: float
    noise: float


@dataclass(frozen=True, slots=True)
class AnchorRecord:
    """Steps of a built-in job.

    Attributes:
        section: What it belongs to.
        anchor: The job and how it ran; `grow` has been resolved to a batch.
        step_s: Time of one step, median over blocks; None if it did not fit the memory.
        noise: As in `KernelRecord`.
        steps: Steps timed.
        host_s: Time until the host had issued a step, the device idle before; None if not known.
        first_s: Time of the first step, what is compiled for it included.
        allocated_bytes: Peak of memory that tensors held; None on a CPU.
        reserved_bytes: Peak of memory the allocator held; None on a CPU.
        power: Power and clocks during the steps.
        crowded: Whether other programs took processors it needed.
    """

    section: str
    anchor: AnchorProbe
    step_s: float | None
    noise: float | None
    steps: int
    host_s: float | None
    first_s: float | None
    allocated_bytes: int | None
    reserved_bytes: int | None
    power: Power | None = None
    crowded: bool = False

    @property
    def name(self) -> str:
        """One line for people."""
        return self.anchor.name


@dataclass(frozen=True, slots=True)
class FailedRecord:
    """A probe that did not run: no kernel for it, no memory, a crash.

    Attributes:
        section: What it belongs to.
        name: One line for people.
        error: What happened.
    """

    section: str
    name: str
    error: str


Record: TypeAlias = KernelRecord | TransferRecord | HostRecord | AnchorRecord | FailedRecord
