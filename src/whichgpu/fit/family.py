"""A job at any batch: a built-in one, one captured at two batches, or one whose batch is fixed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from whichgpu.errors import GraphError, OptionError, WhichGpuError
from whichgpu.graph import PRECISIONS, Job, job_from_document, job_to_document
from whichgpu.graph import precision as precision_named
from whichgpu.graph.affine import evaluate, merge
from whichgpu.workloads import definition, workload

# Jobs kept at hand: most changes are tried at the job's own batch.
_KEPT = 6
# Captures a job anew at a batch, in its own precision or under autocast.
Capture = Callable[[int, str], Job]


class Family(ABC):
    """A job at any batch and in the precisions it is known in.

    Attributes:
        name: What a person calls it.
        batch: Samples of one step.
        precision: What it trains in.
        precisions: All it is known in.
        fixed: Why its batch cannot be changed, with what to do about it; "" if it can.
        unit: Its batch is a whole multiple of this: the micro-batches its step has already.
    """

    name: str
    batch: int
    precision: str
    precisions: tuple[str, ...]
    fixed: str = ""
    unit: int = 1

    @abstractmethod
    def at(self, batch: int, precision: str) -> Job:
        """Return the job at `batch` samples a step.

        Raises:
            OptionError: If the batch is fixed.
        """

    def captured(self, batch: int) -> Job | None:
        """Return the job captured anew at `batch`; None if that cannot be done here."""
        return None


class BuiltIn(Family):
    """A built-in job: its graphs ship for every batch and precision, and can be captured again where torch is."""

    def __init__(self, name: str, batch: int | None, precision: str | None, layout: str | None) -> None:
        found = definition(name)
        self.name = name
        self.batch = found.batch if batch is None else batch
        self.precision = found.precision if precision is None else precision
        self.layout = found.layout if layout is None else layout
        self.precisions = found.precisions
        self._known: dict[tuple[int, str], Job] = {}
        found.check_options(self.batch, self.precision, self.layout)

    def at(self, batch: int, precision: str) -> Job:
        """Return the shipped graph at `batch`."""
        if (batch, precision) not in self._known:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[batch, precision] = workload(self.name, batch=batch, precision=precision, layout=self.layout)
        return self._known[batch, precision]

    def captured(self, batch: int) -> Job | None:
        """Return a fresh capture on the phantom GPU; None if torch or the model's package is not installed."""
        from whichgpu.workloads.ship import capture_workload

        try:
            return capture_workload(self.name, batch, self.precision, self.layout)
        except WhichGpuError:
            return None


class CapturedTwice(Family):
    """A job captured at two batches, between and beyond which every size is a straight line.

    Args:
        first: The job as asked for.
        second: The same job at another batch.
        capture: Captures it at a third, or under autocast; None if that cannot be done.
        third: The same job at one more batch, where the line shall go through that one and `second`: a step of one
            sample is not quite like those of more.

    Raises:
        OptionError: If the two differ in more than sizes, or not in their batch.
    """

    def __init__(self, first: Job, second: Job, capture: Capture | None = None, third: Job | None = None) -> None:
        self.name = first.name
        self.batch = first.samples_per_step
        self.precision = first.precision
        self.precisions = _precisions(first, capture)
        self.unit = _unit(first, second)
        self._first = {first.precision: first}
        ends = (first if third is None else third, second)
        self._ends = (ends[0].samples_per_step, ends[1].samples_per_step)
        self._capture = capture
        if len({self.batch, *self._ends}) < (2 if third is None else 3):
            raise OptionError(
                f"{first.name}: both captures have {self.batch} samples a step; the second must be at another batch."
            )
        self._documents = {first.precision: self._line(*ends)}

    def at(self, batch: int, precision: str) -> Job:
        """Return the job at `batch`; in another precision than its own it is captured anew when first asked for."""
        if precision not in self._first:
            self._first[precision] = _under_autocast(self._capture, self.batch, precision)
        first = self._first[precision]
        if batch == self.batch:
            return first
        if precision not in self._documents:
            ends = (first if at == self.batch else _under_autocast(self._capture, at, precision) for at in self._ends)
            self._documents[precision] = self._line(*ends)
        found = job_from_document(evaluate(self._documents[precision], -(-batch // self.unit)))
        return replace(found, options=first.options)

    def captured(self, batch: int) -> Job | None:
        """Return a fresh capture, if there is a way to make one."""
        return None if self._capture is None else self._capture(batch, self.precision)

    def _line(self, first: Job, second: Job) -> Any:
        """Return the document through two captures; its number is the samples of a micro-batch."""
        # What a reader is told may differ in numbers that mean nothing here.
        plain = [replace(j, notes=(), options={}, samples_per_epoch=None) for j in (first, second)]
        at = [j.samples_per_step // self.unit for j in plain]
        try:
            return merge(job_to_document(*plain), at[0], job_to_document(*reversed(plain)), at[1])
        except GraphError as error:
            raise OptionError(
                f"{first.name}: what it needs at other batches cannot be told from captures at "
                f"{first.samples_per_step:,} and {second.samples_per_step:,} samples, whose steps differ in more than "
                f"sizes. Other batches may do: one of few samples is not always like a large one. ({error})"
            ) from error


def _unit(first: Job, second: Job) -> int:
    """Return the micro-batches of a step, where both batches are whole multiples of as many; else 1."""
    counts = {job.options.get("micro_batches", 1) for job in (first, second)}
    (count, *others) = counts
    if others or not isinstance(count, int) or count < 1:
        return 1
    return count if not any(job.samples_per_step % count for job in (first, second)) else 1


class Fixed(Family):
    """A job known at one batch.

    Args:
        job: The job.
        why: Why it is known at no other, with what to do about it.
        capture: Captures it under autocast; None if that cannot be done.
    """

    def __init__(self, job: Job, why: str, capture: Capture | None = None) -> None:
        self.name = job.name
        self.batch = job.samples_per_step
        self.precision = job.precision
        self.precisions = _precisions(job, capture)
        self.fixed = why
        self._capture = capture
        self._known = {job.precision: job}

    def at(self, batch: int, precision: str) -> Job:
        """Return the job, at its own batch; in another precision than its own it is captured anew."""
        if batch != self.batch:
            raise OptionError(self.fixed)
        if precision not in self._known:
            self._known[precision] = _under_autocast(self._capture, batch, precision)
        return self._known[precision]


def _precisions(job: Job, capture: Capture | None) -> tuple[str, ...]:
    """Return what a captured job is known in: autocast can be put around one that trains in float32."""
    own = precision_named(job.precision)
    if capture is None or own.autocast is not None or own.weights != "float32":
        return (job.precision,)
    return (job.precision, *(name for name, found in PRECISIONS.items() if found.autocast is not None))


def _under_autocast(capture: Capture | None, batch: int, precision: str) -> Job:
    if capture is None:
        raise OptionError(f"It was not captured in {precision}.")
    try:
        job = capture(batch, precision)
    except WhichGpuError as error:
        raise OptionError(f"It could not be captured in {precision}: {error}") from error
    if job.precision != precision or job.samples_per_step != batch:
        raise OptionError(f"Captured in {precision}, it trains in {job.precision}, {job.samples_per_step} samples.")
    return job
