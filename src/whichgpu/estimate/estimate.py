"""What an estimate says: seconds with an interval, what they are made of, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from whichgpu.memory import Footprint

Bound = Literal["compute", "memory bandwidth", "host launch"]
BOUNDS: tuple[Bound, ...] = ("compute", "memory bandwidth", "host launch")


@dataclass(frozen=True, slots=True)
class Interval:
    """A range that holds the truth with a stated probability.

    Attributes:
        low: Lower end.
        high: Upper end.
        level: Probability meant, 0.8 for four in five.
        basis: What the width rests on, in words.
    """

    low: float
    high: float
    level: float
    basis: str


@dataclass(frozen=True, slots=True)
class Share:
    """A part of the device's busy time.

    Attributes:
        label: Kernel kind, or the name of an op that has no rule.
        seconds: Time it takes in one step.
        fraction: Of the device's busy time.
        bound: What limits it.
    """

    label: str
    seconds: float
    fraction: float
    bound: Bound


@dataclass(frozen=True, slots=True)
class Estimate:
    """The prediction for one job on one device.

    Attributes:
        job: The job's name.
        device: The device's full name.
        precision: What it would train in; other than the job's own only where the caller allowed it.
        step_s: Seconds of one optimizer step, without data loading.
        interval: Around `step_s`, in seconds.
        samples_per_step: Samples one step learns from.
        samples_per_epoch: Of the job; None if unknown.
        device_s: Time the device is busy in one step.
        host_s: Time the host takes to issue one step.
        compute_s: Device time of kernels limited by arithmetic.
        memory_s: Device time of kernels limited by memory bandwidth.
        launch_s: Device time lost to starting kernels.
        bound: What limits the step.
        shares: Device time by kernel kind, largest first.
        flops: FLOPs of one step.
        bytes_moved: Bytes of one step.
        peak_bytes: Bytes the step's tensors need at once; None if the job carries no lifetimes.
        memory: What the step takes on the device, and whether it fits; None likewise.
        notes: What a reader must know.
        host_weight: How much the host decides the step's length, 0 to 1.
        eager_step_s: Seconds of the step as eager PyTorch runs it; None unless both ways were asked for.
        compiled_step_s: Seconds of it as torch.compile would run it; likewise.
        compile_time: What compiling takes before the first step, in seconds; likewise.
        energy_j: What the board draws over one step, at most; None where its power limit is not known.
    """

    job: str
    device: str
    precision: str
    step_s: float
    interval: Interval
    samples_per_step: int
    samples_per_epoch: int | None
    device_s: float
    host_s: float
    compute_s: float
    memory_s: float
    launch_s: float
    bound: Bound
    shares: tuple[Share, ...]
    flops: float
    bytes_moved: float
    peak_bytes: int | None
    memory: Footprint | None = None
    notes: tuple[str, ...] = ()
    host_weight: float = 0.0
    energy_j: float | None = None
    eager_step_s: float | None = None
    compiled_step_s: float | None = None
    compile_time: Interval | None = None

    @property
    def samples_per_s(self) -> float:
        """Throughput."""
        return self.samples_per_step / self.step_s

    @property
    def epoch_s(self) -> float | None:
        """Seconds of one epoch, a smaller last step in proportion; None if its length is unknown."""
        return None if self.samples_per_epoch is None else self.samples_per_epoch / self.samples_per_s

    @property
    def flops_per_s(self) -> float:
        """FLOPs the step achieves per second."""
        return self.flops / self.step_s
