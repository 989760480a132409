"""What measuring yields, and what it tells while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Phase = Literal["prepare", "probe", "warm-up", "measure", "download", "train", "test", "read", "capture", "predict"]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands; handed to the caller's callback.

    Attributes:
        phase: What is being done.
        done: How much of it: seconds while timing, steps or images otherwise.
        total: Of how much, in the same unit; None if that is not known.
        message: One line for people.
    """

    phase: Phase
    done: float
    total: float | None
    message: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """One job really trained on a device of this machine.

    Attributes:
        job: The job's name.
        device: Full name of the device; what the driver or system calls it where no device of ours has that name.
        label: Short name for tables.
        precision: What it trained in.
        batch: Samples of one step of the job; the figures below are for this batch.
        measured_batch: Samples of the steps that were timed; times are scaled by `batch / measured_batch`.
        step_s: Seconds of one optimizer step, median of those timed, without data loading.
        step_s_low: Low end of the spread.
        step_s_high: High end of the spread.
        spread: What low and high are: "10th to 90th percentile of 87 steps", "fastest and slowest of 4 steps".
        steps: Steps timed.
        warmup_steps: Steps run before them and not counted.
        seconds_spent: Wall time of the whole measurement, building the model included.
        interrupted: Whether it was cut short.
        notes: What a reader must know.
        crowded: Whether other programs took processors it needed.
        compiled: Whether torch.compile had made the steps.
    """

    job: str
    device: str
    label: str
    precision: str
    batch: int
    measured_batch: int
    step_s: float
    step_s_low: float
    step_s_high: float
    spread: str
    steps: int
    warmup_steps: int
    seconds_spent: float
    interrupted: bool = False
    notes: tuple[str, ...] = ()
    crowded: bool = False
    compiled: bool = False

    @property
    def samples_per_s(self) -> float:
        """Throughput."""
        return self.batch / self.step_s

    @property
    def scale(self) -> float:
        """What measured times were multiplied by."""
        return self.batch / self.measured_batch
