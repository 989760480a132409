"""A calibration: the machine, when, and all records; and its JSON form, ``whichgpu.calibration/1``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from whichgpu.measure.calibration.record import Record


@dataclass(frozen=True, slots=True)
class SectionSummary:
    """How far a section got.

    Attributes:
        measured: Records.
        failed: Probes that did not run.
        unreached: Probes there was no time for.
        seconds: Time spent.
    """

    measured: int
    failed: int
    unreached: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured on one device of one machine.

    Attributes:
        machine: Description of the machine, as docs/calibration.md has it.
        started: When, in UTC, ISO.
        seconds: How long it took.
        finished: Whether it came to its end; False for what is saved on the way or was interrupted.
        quick: Whether it did with fewer sizes.
        version: Of whichgpu.
        notes: What a reader must know.
        sections: How far each section got.
        records: All that was found, in order.
    """

    machine: Mapping[str, Any]
    started: str
    seconds: float
    finished: bool
    quick: bool
    version: str
    notes: tuple[str, ...] = ()
    sections: Mapping[str, SectionSummary] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)

    @classmethod
    def begun(cls, machine: Mapping[str, Any], quick: bool, notes: tuple[str, ...]) -> Calibration:
        """Return a calibration that begins now."""
        from importlib.metadata import PackageNotFoundError, version

        try:
            ours = version("whichgpu")
        except PackageNotFoundError:  # run from its folder, not installed
            ours = "unknown"
        return cls(machine, datetime.now(UTC).isoformat(timespec="seconds"), 0.0, False, quick, ours, notes)

    def closed(self, seconds: float, finished: bool, sections: Mapping[str, SectionSummary]) -> Calibration:
        """Return it with how long it took and how far it got."""
        return replace(self, seconds=seconds, finished=finished, sections=sections)

    @property
    def device(self) -> str:
        """Full name of the device; what the driver calls it where no device of ours has that name."""
        return str(self.machine["device"]["name"])
