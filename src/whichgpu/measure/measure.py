"""Measuring a job: the same training step that is predicted, really run on a device of this machine."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from whichgpu.errors import GraphError, MeasureError, OptionError, require_count
from whichgpu.graph import precision as precision_named
from whichgpu.measure.measurement import Measurement, Phase, Progress
from whichgpu.measure.memory import USABLE, PeakMemory, available_bytes
from whichgpu.measure.out_of_memory import is_out_of_memory
from whichgpu.measure.spread import spread
from whichgpu.measure.stepper import Stepper, group_size
from whichgpu.measure.target import Target
from whichgpu.other_programs import ProcessorTime, crowding_note
from whichgpu.units import binary_bytes, duration

if TYPE_CHECKING:
    from whichgpu.workloads.workload import Workload

# A step may take this part of the time given, so that a handful of them can be timed.
_STEP_SHARE = 1 / 6
_GROWTH = 4
_WARMUP_STEPS = 3

OnProgress = Callable[[Progress], None]


def measure(
    definition: Workload,
    *,
    seconds: float = 10.0,
    batch: int | None = None,
    precision: str | None = None,
    device: str = "cpu",
    on_progress: OnProgress | None = None,
) -> Measurement:
    """Train `definition` on a device of this machine for about `seconds` and return the time of one step.

    A first step of one sample is run, then larger batches as long as memory and time allow, up to the job's own;
    then steps are timed until the time is used up, at least one after the first; the first itself where that alone
    took longer than `seconds`. Where the batch had to stay smaller, times are scaled in proportion, and the notes say
    so. Ctrl-C ends at once with what was measured.

    Args:
        definition: What to train, from `whichgpu.workloads.definition`.
        seconds: Time to spend from the first step on; building the model comes on top.
        batch: Samples of one step of the job; its own by default.
        precision: A name of `whichgpu.graph.PRECISIONS`; by default the job's own, on a CPU fp32 where the job has it.
        device: "cpu", "cuda", "cuda:1" or "mps".
        on_progress: Called, on the calling thread, whenever there is something to tell.

    Raises:
        OptionError: If `batch` or `seconds` is not positive, or the job lacks the precision.
        MissingExtraError: If torch or a package the job needs is not installed.
        MeasureError: If this machine lacks the device or the memory, or nothing was measured before Ctrl-C.
    """
    if not 0 < seconds < math.inf:
        raise OptionError(f"Time to measure is {seconds:g} s; expected more than 0, and an end.")
    batch = definition.batch if batch is None else batch
    require_count("Batch is", batch)
    target = Target.find(device, definition.name)
    trained_in, notes = _precision(definition, precision, device)
    run = _Run(definition, target, batch, trained_in, seconds, on_progress or (lambda progress: None), notes)
    with target.math_modes(precision_named(trained_in)):
        try:
            run.find_batch()
            run.time_steps()
        except KeyboardInterrupt:
            run.interrupted = True
        finally:
            run.stepper.close()
            run.interrupted |= run.stepper.interrupted
    return run.result()


def _precision(definition: Workload, wanted: str | None, device: str) -> tuple[str, list[str]]:
    """Return the precision to train in, and what there is to say about it."""
    if device != "cpu":
        return precision_named(wanted or definition.precision).name, []
    if wanted is None:
        if definition.precision == "fp32" or "fp32" not in definition.precisions:
            return definition.precision, []
        return "fp32", [f"Trained in fp32: {definition.precision}, the job's own on a GPU, is not what a CPU runs."]
    if precision_named(wanted).name == "tf32":
        return "fp32", ["A CPU has no TF32: trained in fp32."]
    return wanted, []


@dataclass
class _Trial:
    """A training step at some batch, and what its first runs took; the step is dropped before a larger one is built."""

    batch: int
    step: Callable[[], Any] | None
    memory: PeakMemory
    free_bytes: float | None
    warmup: list[float] = field(default_factory=list)


@dataclass
class _Run:
    """The state of one measurement, from which a result can be drawn at any time."""

    definition: Workload
    target: Target
    batch: int
    precision: str
    seconds: float
    tell: OnProgress
    notes: list[str]
    interrupted: bool = False
    trial: _Trial | None = None
    groups: list[float] = field(default_factory=list)
    steps: int = 0

    def __post_init__(self) -> None:
        self.begin = time.perf_counter()
        self.processors = ProcessorTime.now()
        self.stepping_since: float | None = None
        self.stepper = Stepper(self.target.synchronize)
        self.step_s_most = self.seconds * _STEP_SHARE
        self.limit = ""

    def left_s(self) -> float:
        """Return what is left of the time given, which begins with the first step, once all libraries are loaded."""
        if self.stepping_since is None:
            return self.seconds
        return self.seconds - (time.perf_counter() - self.stepping_since)

    def find_batch(self) -> None:
        """Grow the batch from one sample while memory and time allow; leave the last trial, warmed up."""
        self._check_memory_for_first_step()
        batch = 1
        while True:
            smaller = self.trial.batch if self.trial else None
            try:
                self._try(batch)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if smaller is None:
                    raise MeasureError(
                        f"{self.definition.name} does not fit the memory of {self.target.label} even with one sample a "
                        f"step: {error}"
                    ) from error
                self.limit = "memory"
                self._try(smaller)
                return
            following = self._next_batch()
            if following == batch:
                return
            batch = following

    def _try(self, batch: int) -> None:
        """Build the step at `batch` and run it once, twice where that is quick."""
        if self.trial is not None:
            self.trial.step = None
        gc.collect()
        self.target.empty_cache()
        name, device = self.definition.name, self.target.device
        self._say("prepare", 0, None, f"building {name} at batch {batch}")
        free_bytes, memory = available_bytes(device), PeakMemory(device)
        step = self.stepper.call(
            lambda: self.definition.training_step(batch, device, self.precision, self.definition.layout)
        )
        trial = _Trial(batch, step, memory, free_bytes)
        self._say("probe", batch, self.batch, f"first step at batch {batch}")
        if self.stepping_since is None:
            self.stepping_since = time.perf_counter()
        trial.warmup.append(self.stepper.timed(step))
        self.trial = trial
        if self.left_s() > 2 * trial.warmup[0]:
            # The first step also chooses kernels and makes the optimizer's state.
            trial.warmup.append(self.stepper.timed(step))

    def _next_batch(self) -> int:
        """Return the next larger batch that will fit memory and time; this one if none does."""
        assert self.trial is not None
        batch, step_s = self.trial.batch, self.trial.warmup[-1]
        free, taken = self.trial.free_bytes, self.trial.memory.taken_bytes()
        for factor in range(_GROWTH, 1, -1):
            larger = min(batch * factor, self.batch)
            if larger == batch:
                return batch
            if step_s * larger / batch > self.step_s_most:
                self.limit = "time"
            elif free is not None and self._needed_bytes(larger, taken) > USABLE * free:
                self.limit = "memory"
            else:
                self.limit = ""
                return larger
        return batch

    def _needed_bytes(self, batch: int, taken: float) -> float:
        """Return an upper bound of what a step at `batch` needs: nothing grows faster than in proportion."""
        assert self.trial is not None
        return max(taken * batch / self.trial.batch, _graph_bytes(self.definition, batch, self.precision) or 0.0)

    def _check_memory_for_first_step(self) -> None:
        free = available_bytes(self.target.device)
        needed = _graph_bytes(self.definition, 1, self.precision)
        if free is not None and needed is not None and needed > USABLE * free:
            raise MeasureError(
                f"{self.definition.name} needs about {binary_bytes(needed)} even with one sample a step, and "
                f"{self.target.label} has {binary_bytes(free)} free. Close other programs, or predict it only."
            )

    def time_steps(self) -> None:
        """Warm up, then time steps until the time is used up, at least one.

        None if the first step took longer than all the time given: what a first step has to do besides, such as
        choosing kernels, is little of a step so long.
        """
        assert self.trial is not None and self.trial.step is not None
        step, warmup = self.trial.step, self.trial.warmup
        if warmup[0] >= self.seconds:
            return
        while len(warmup) < _WARMUP_STEPS and self.left_s() > 2 * warmup[-1]:
            self._say("warm-up", len(warmup), _WARMUP_STEPS, f"warming up at batch {self.trial.batch}")
            warmup.append(self.stepper.timed(step))
        size = group_size(warmup[-1])
        total_s = max(self.left_s(), 0.0)
        while not self.groups or self.left_s() >= self.groups[-1] * size:
            done_s = total_s - max(self.left_s(), 0.0)
            self._say("measure", done_s, total_s, f"{self.steps} steps timed at batch {self.trial.batch}")
            self.groups.append(self.stepper.timed(step, size))
            self.steps += size
        self._say("measure", total_s, total_s, f"{self.steps} steps timed at batch {self.trial.batch}")

    def result(self) -> Measurement:
        """Return what was measured so far.

        Raises:
            MeasureError: If no step has ended yet.
        """
        from statistics import median

        trial = self.trial
        if trial is None or not trial.warmup:
            raise MeasureError(
                f"{self.definition.name}: interrupted before a step had ended: nothing measured yet. "
                "Give it longer, or leave measuring out."
            )
        times, steps, warmup = self.groups, self.steps, len(trial.warmup)
        notes = list(self.notes)
        if not times:
            times, steps, warmup = trial.warmup[-1:], 1, warmup - 1
            why = (
                "Interrupted before warm-up had ended"
                if self.interrupted
                else "The first step alone took longer than asked"
            )
            notes.append(f"{why}: the step timed is one that is usually slower than later ones.")
        elif self.interrupted:
            notes.append(f"Interrupted with {duration(max(self.left_s(), 0.0))} of {duration(self.seconds)} left.")
        scale = self.batch / trial.batch
        low, high, meaning = spread(times, steps)
        if steps == 1:
            notes.append("Only one step was timed: its spread is not known.")
        if scale != 1:
            notes.append(self._scaling_note(trial.batch, scale))
        crowded = crowding_note(self.processors, ProcessorTime.now(), self.target.threads)
        return Measurement(
            job=self.definition.name,
            device=self.target.name,
            label=self.target.label,
            precision=self.precision,
            batch=self.batch,
            measured_batch=trial.batch,
            step_s=median(times) * scale,
            step_s_low=low * scale,
            step_s_high=high * scale,
            spread=meaning,
            steps=steps,
            warmup_steps=warmup,
            seconds_spent=time.perf_counter() - self.begin,
            interrupted=self.interrupted,
            notes=(*notes, *self.target.notes, *crowded),
            crowded=bool(crowded),
        )

    def _scaling_note(self, measured: int, scale: float) -> str:
        why = {
            "memory": "more does not fit the free memory",
            "time": f"more does not fit {duration(self.seconds)}",
        }.get(self.limit, "it was interrupted on the way")
        return (
            f"Measured at batch {measured} and multiplied by {scale:.3g} for batch {self.batch:,}: {why}. "
            "Work that does not grow with the batch, such as the optimizer's, is multiplied too."
        )

    def _say(self, phase: Phase, done: float, total: float | None, message: str) -> None:
        self.tell(Progress(phase, done, total, message))


def _graph_bytes(definition: Workload, batch: int, precision: str) -> float | None:
    """Return what the tensors of a step need by the job's shipped graph; None where none is shipped."""
    from whichgpu.workloads.shipped import load_shipped

    try:
        return float(load_shipped(definition.name, batch, precision, definition.layout).graph.peak_bytes())
    except GraphError:
        return None
