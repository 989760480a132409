"""A comparison: one job on many devices, measured here and predicted elsewhere."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from whichgpu.comparison.compiling import Compiling

SCHEMA = "whichgpu.comparison/1"
# What tables call the processor of this machine.
THIS_CPU = "this CPU"


@dataclass(frozen=True, slots=True)
class RowOffer:
    """The cheapest offer that has a row's device.

    Attributes:
        provider: Who rents it out.
        sku: The provider's name for the machine.
        device_count: Devices in the machine; all are paid for, one is used.
        usd_per_h: Price of the whole machine, low end of a range.
        usd_per_h_high: High end of a range, or None.
        observed: Day the price was seen, ISO.
        age_days: Days since.
        source: Where it was seen.
        notes: What to know before trusting it.
    """

    provider: str
    sku: str
    device_count: int
    usd_per_h: float
    usd_per_h_high: float | None
    observed: str
    age_days: int
    source: str
    notes: str = ""


@dataclass(frozen=True, slots=True)
class RowMemory:
    """What a step takes of a row's device.

    Attributes:
        allocated_bytes: Its tensors and workspaces, as torch.cuda.max_memory_allocated tells.
        reserved_bytes: What the caching allocator takes for them, as torch.cuda.max_memory_reserved tells.
        device_bytes: What the process takes, as nvidia-smi shows it: reserved, context, communication buffers.
        device_bytes_low: Lower end of the interval around it.
        device_bytes_high: Upper end.
        usable_bytes: What a process can have there; None if the device's memory is not known.
        margin_bytes: What is left, negative if it does not suffice; None likewise.
        peak_phase: In which phase of the step the most is allocated.
        holders: Bytes at that moment by who holds them.
    """

    allocated_bytes: int
    reserved_bytes: int
    device_bytes: int
    device_bytes_low: int
    device_bytes_high: int
    usable_bytes: int | None
    margin_bytes: int | None
    peak_phase: str
    holders: dict[str, int]


@dataclass(frozen=True, slots=True)
class Row:
    """One device's line.

    Attributes:
        device: Full name of the device.
        label: Short name for tables; "this CPU" for the processor of this machine.
        accelerator: Whether it is a GPU or another accelerator, rather than a host processor.
        kind: "measured" here, or "predicted".
        precision: What it trains in.
        step_s: Seconds of one step.
        step_s_low: Lower end of the interval (of the timed steps, where measured).
        step_s_high: Upper end.
        interval_basis: What the interval's width rests on.
        samples_per_s: Throughput.
        epoch_s: Seconds of one epoch; None if the job has no epoch length.
        job_s: Seconds of all epochs asked for; None likewise.
        speedup: Step time of this machine's CPU over this row's; None if that was neither measured nor predicted.
        bound: What limits the step; None where measured.
        usd_per_epoch: Price of an epoch at `offer`; None if nobody rents the device or there is no epoch length.
        usd_per_job: Price of all epochs; None likewise.
        offer: The cheapest offer, or None.
        fits: Whether the step fits the device's memory; None if the device's memory or the tensors' lifetimes are
            unknown. Where it is False, reports withhold the times, unless the comparison ignores memory.
        memory: What the step takes there; None where lifetimes are unknown, where it was measured, and for host
            processors.
        eager_step_s: Seconds of a step as eager PyTorch runs it; None where measured.
        compiled_step_s: Seconds of a step as torch.compile would run it; likewise.
        crowded: Whether other programs took processors it needed, where it was measured.
        notes: What a reader must know.
    """

    device: str
    label: str
    accelerator: bool
    kind: Literal["measured", "predicted"]
    precision: str
    step_s: float
    step_s_low: float
    step_s_high: float
    interval_basis: str
    samples_per_s: float
    epoch_s: float | None
    job_s: float | None
    speedup: float | None
    bound: str | None
    usd_per_epoch: float | None
    usd_per_job: float | None
    offer: RowOffer | None
    fits: bool | None = None
    memory: RowMemory | None = None
    eager_step_s: float | None = None
    compiled_step_s: float | None = None
    crowded: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobSummary:
    """What a comparison says of its job.

    Attributes:
        name: What a person calls it.
        samples_per_step: Samples one step learns from.
        samples_per_epoch: Samples of one pass over the data; None if unknown.
        steps_per_epoch: Steps of one epoch, the last one possibly smaller; None likewise.
        epochs: Epochs asked for.
        precision: What it trains in, unless a row says otherwise.
        layout: Memory format of its images, or "".
        sample: What one sample is.
        source: Where its graph came from.
        compiled: Whether the step compared is the compiled one.
        flops_per_step: FLOPs of one step, a multiply-add being two.
        bytes_per_step: Bytes its kernels read and write, each counted alone.
        peak_bytes: Bytes its tensors need at once; None if the job carries no lifetimes.
        options: How it was built, as plain JSON values.
        notes: What a reader must know.
    """

    name: str
    samples_per_step: int
    samples_per_epoch: int | None
    steps_per_epoch: int | None
    epochs: int
    precision: str
    layout: str
    sample: str
    source: str
    flops_per_step: float
    bytes_per_step: float
    peak_bytes: int | None
    compiled: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """One job, one row a device, in the order asked for.

    Attributes:
        job: What was compared.
        rows: Measured rows first.
        reference: Name of the device speed-ups refer to, or None.
        interval_level: Probability the intervals of predicted rows mean.
        notes: What holds for all rows, such as devices left out and why.
        ignore_memory: Whether rows whose device has too little memory tell their times all the same.
        compiling: Whether torch.compile pays; None where no GPU was compared.
        reference_off: What was predicted for the reference over what was measured; None where it was not measured.
    """

    job: JobSummary
    rows: tuple[Row, ...]
    reference: str | None
    interval_level: float
    notes: tuple[str, ...] = ()
    ignore_memory: bool = False
    compiling: Compiling | None = None
    reference_off: float | None = None

    def withholds(self, row: Row) -> bool:
        """Return whether the times of `row` are of a step that would never run."""
        return row.fits is False and not self.ignore_memory

    def to_dict(self) -> dict[str, Any]:
        """Return the document of schema "whichgpu.comparison/1", described in docs/json.md."""
        from whichgpu.comparison.document import comparison_to_document

        return comparison_to_document(self)

    def to_json(self, indent: int | None = 2) -> str:
        """Return `to_dict()` as JSON text."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False)

    def _repr_html_(self) -> str:
        """Return the table a notebook shows."""
        from whichgpu.comparison.notebook import comparison_to_html

        return comparison_to_html(self)
