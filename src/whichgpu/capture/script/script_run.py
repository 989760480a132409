"""What running a script in two passes brought: a job, the times of its steps here, and what there is to say."""

from __future__ import annotations

from dataclasses import dataclass

from whichgpu.graph import Job


@dataclass(frozen=True, slots=True)
class TimedSteps:
    """Steps of the script, really run on this machine's CPU.

    Attributes:
        step_s: Seconds of each step timed, waiting for data and what stands between steps left out.
        loading_s: Seconds a step waited for data, median.
        precision: A key of `whichgpu.graph.PRECISIONS`: what the CPU trained in.
        threads: Host threads that computed.
        seconds_spent: Wall time of the whole pass.
        apart_share: Part of the time watched that went to what is no part of a step: evaluation, rollouts.
        notes: What a reader must know.
        compiled: Whether torch.compile had made them.
        crowded: Whether other programs took processors they needed.
    """

    step_s: tuple[float, ...]
    loading_s: float
    precision: str
    threads: int
    seconds_spent: float
    apart_share: float = 0.0
    notes: tuple[str, ...] = ()
    compiled: bool = False
    crowded: bool = False


@dataclass(frozen=True, slots=True)
class ScriptRun:
    """What the passes brought.

    Attributes:
        job: The step as a GPU would run it.
        timed: The steps as this CPU ran them; None if there are none, and the job's notes say why.
        files: Local files the script is made of.
    """

    job: Job
    timed: TimedSteps | None
    files: tuple[str, ...] = ()
