"""Whether torch.compile pays: what compiling takes once, and what it saves a step on the fastest GPU compared."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt

from whichgpu.estimate import Interval
from whichgpu.units import MINUTE_S, duration

# A gain below this share of a step is within the error of the difference of two predictions.
_LEAST_GAIN = 0.03


@dataclass(frozen=True, slots=True)
class Compiling:
    """What torch.compile takes and saves.

    Attributes:
        compiled: Whether the times compared are those of the compiled step; if not, of the eager one.
        device: Label of the GPU the steps are told of.
        eager_step_s: Seconds of an eager step there.
        compiled_step_s: Seconds of a compiled step there.
        compile_s: Seconds before the first compiled step, kernels and caches cold; no other time holds it.
        compile_s_low: Lower end of its interval.
        compile_s_high: Upper end.
        basis: What that interval rests on.
        pays_after_steps: Steps after which it has saved more time than it took; None if it saves none.
        job_steps: Steps of the whole job; None if its length is unknown.
    """

    compiled: bool
    device: str
    eager_step_s: float
    compiled_step_s: float
    compile_s: float
    compile_s_low: float
    compile_s_high: float
    basis: str
    pays_after_steps: int | None
    job_steps: int | None

    @property
    def gain(self) -> float:
        """Share of an eager step that is saved; negative if the compiled one is slower."""
        return 1 - self.compiled_step_s / self.eager_step_s

    @property
    def pays(self) -> bool | None:
        """Whether it pays within the job; None if the job's length is unknown."""
        if self.pays_after_steps is None:
            return False
        return None if self.job_steps is None else self.pays_after_steps <= self.job_steps


def compiling(
    compiled: bool, device: str, eager_step_s: float, compiled_step_s: float, time: Interval, job_steps: int | None
) -> Compiling:
    """Return what torch.compile takes and saves on one device; see `Compiling`."""
    gain_s = eager_step_s - compiled_step_s
    # By the high end: whoever is told that it pays shall not wait in vain.
    after = ceil(time.high / gain_s) if gain_s > _LEAST_GAIN * eager_step_s else None
    return Compiling(
        compiled=compiled,
        device=device,
        eager_step_s=eager_step_s,
        compiled_step_s=compiled_step_s,
        compile_s=sqrt(time.low * time.high),
        compile_s_low=time.low,
        compile_s_high=time.high,
        basis=time.basis,
        pays_after_steps=after,
        job_steps=job_steps,
    )


def sentence(found: Compiling) -> str:
    """Return it in words."""
    cost = f"{_rough(found.compile_s)} of compiling ({_rough(found.compile_s_low)} to {_rough(found.compile_s_high)})"
    share = f"{abs(found.gain) * 100:.0f} %"
    if found.pays_after_steps is None:
        if found.gain < -_LEAST_GAIN:
            saves = f"makes a step on {found.device} {share} longer"
        else:
            saves = f"saves next to nothing a step on {found.device}"
        return f"torch.compile: {cost} that {saves}: it does not pay."
    saves = f"{duration(found.eager_step_s - found.compiled_step_s)} less a step on {found.device} ({share})"
    after = f"made up for after {found.pays_after_steps:,} steps at the latest"
    if found.job_steps is None:
        return f"torch.compile: {cost} for {saves}, {after}."
    verdict = "it pays" if found.pays else "it does not pay"
    return f"torch.compile: {cost} for {saves}, {after}: {verdict} in the {found.job_steps:,} compared."


def _rough(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 99.5 else duration(round(seconds / MINUTE_S) * MINUTE_S)
