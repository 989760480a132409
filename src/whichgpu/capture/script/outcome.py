"""How a pass ended, and what it brought."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from whichgpu.capture.script.seen import Seen

# done: the steps needed were seen; ended: the script ended before; failed: it raised or left with an error code;
# host: its steps ran on the CPU alone; refused: it does what no pass can follow;
# crashed: its process died; timeout, memory: it was ended at its limit.
Status = Literal["done", "ended", "failed", "host", "refused", "crashed", "timeout", "memory"]


@dataclass(slots=True)
class PassOutcome:
    """How a pass ended.

    Attributes:
        status: In one word.
        seen: What it saw until then.
        job: Document of the recorded step as a job; None if there is none.
        exit_code: What the script's process left with.
        error: Last line of the script's traceback, or another reason in one line.
        traceback: The script's own traceback, without frames of ours.
        output: Last lines the script printed.
        seconds: Wall time of the pass.
        threads: Host threads torch computed with.
        crowded: Whether other programs took processors it needed.
    """

    status: Status
    seen: Seen = field(default_factory=Seen)
    job: dict[str, Any] | None = None
    exit_code: int = 0
    error: str = ""
    traceback: str = ""
    output: str = ""
    seconds: float = 0.0
    threads: int = 1
    crowded: bool = False

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "status": self.status,
            "seen": self.seen.to_document(),
            "job": self.job,
            "exit_code": self.exit_code,
            "error": self.error,
            "traceback": self.traceback,
            "seconds": self.seconds,
            "threads": self.threads,
            "crowded": self.crowded,
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> PassOutcome:
        """Return what `to_document` described."""
        return cls(**{**document, "seen": Seen.from_document(document["seen"])})
