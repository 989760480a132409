"""A change that makes a job need less memory: what to do, what it costs, whether it alters the training."""

from __future__ import annotations

from dataclasses import dataclass

from whichgpu.fit.plan import Outcome


@dataclass(frozen=True, slots=True)
class Change:
    """One way to need less memory.

    Attributes:
        name: What it is.
        how: What to write in a script.
        alters: How it alters the training; "" if the same numbers come out, but for rounding.
        outcome: What it comes to.
    """

    name: str
    how: str
    alters: str
    outcome: Outcome

    @property
    def fits(self) -> bool:
        """Whether the step fits with it."""
        return self.outcome.memory.fits is True


def in_order(changes: list[Change]) -> list[Change]:
    """Return changes, each once, the cheapest first.

    Those that fit stand before the others, among these those that alter nothing, and of these those that fit surely.
    """
    unique = {change.name: change for change in changes}

    def key(change: Change) -> tuple[bool, bool, bool, float, int]:
        time = float("inf") if change.outcome.step_s is None else change.outcome.step_s * change.outcome.plan.processes
        memory = change.outcome.memory
        return not change.fits, bool(change.alters), change.fits and memory.is_close, time, memory.device_bytes

    return sorted(unique.values(), key=key)


def cheapest(changes: list[Change]) -> Change | None:
    """Return the change that makes a job fit in the least time; one that leaves the training as it is, if there is any.

    Time counts on every device.
    """
    return next((change for change in changes if change.fits), None)
