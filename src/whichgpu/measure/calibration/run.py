"""The calibration: sections one after the other, each in its time, whatever becomes of single kernels."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from whichgpu.errors import MeasureError, OptionError
from whichgpu.measure.calibration.calibration import Calibration, SectionSummary
from whichgpu.measure.calibration.measuring_process import MeasuringProcess
from whichgpu.measure.calibration.probe import AnchorProbe, Probe, Section
from whichgpu.measure.calibration.record import FailedRecord
from whichgpu.measure.calibration.sweep import SECTIONS, sweep
from whichgpu.measure.measurement import Progress

FULL_S, QUICK_S = 300.0, 60.0
# How long one probe may take before its process is ended; a compiler may need most of it.
LONGEST_PROBE_S, LONGEST_ANCHOR_S = 40.0, 150.0
_SAVE_EVERY_S = 4.0

OnProgress = Callable[[Progress], None]
Save = Callable[[Calibration], None]


def calibrate(
    device: str = "cuda:0",
    *,
    seconds: float | None = None,
    quick: bool = False,
    only: str | None = None,
    save: Save | None = None,
    on_progress: OnProgress | None = None,
) -> Calibration:
    """Measure kernels, copies, the host and whole steps on a device of this machine, the most valuable first.

    Each section has its part of the time; what one leaves goes to the next, and what is left at the end to what was
    not reached. Ctrl-C ends it with what there is.

    Args:
        device: What torch calls it: "cuda:0", or "cpu" for this machine's processor.
        seconds: How long, starting torch included; five minutes by default, one with `quick`.
        quick: Whether to do with fewer sizes.
        only: The one section to measure, of `SECTIONS`.
        save: Called with what there is, every few seconds and at the end.
        on_progress: Called whenever there is something to tell.

    Raises:
        OptionError: If `only` is no section, or `device` no name of one.
        MissingExtraError: If torch is not installed.
        MeasureError: If torch can use no such device here, or the measuring process cannot be started at first; later
            it ends the calibration, whose notes say so.
    """
    if only is not None and only not in SECTIONS:
        raise OptionError(f"There is no section {only!r}; expected one of {', '.join(SECTIONS)}.")
    time_given_s = seconds or (QUICK_S if quick else FULL_S)
    began = time.monotonic()
    with MeasuringProcess(device, quick) as process:
        ready = process.ready()
        run = _Run(
            process,
            Calibration.begun(ready.machine, quick, ready.notes),
            sweep(ready.scope, only),
            began,
            began + time_given_s,
            save or (lambda found: None),
            on_progress or (lambda progress: None),
        )
        try:
            run.measure()
        except KeyboardInterrupt:
            run.stopped = "Interrupted before the end."
        except MeasureError as error:
            run.stopped = str(error)
        return run.end()


@dataclass(slots=True)
class _Run:
    process: MeasuringProcess
    found: Calibration
    sections: tuple[Section, ...]
    began: float
    deadline: float
    save: Save
    tell: OnProgress
    stopped: str = ""
    saved_at: float = 0.0
    left: dict[str, list[Probe]] = field(default_factory=dict)
    spent_s: dict[str, float] = field(default_factory=dict)

    def measure(self) -> None:
        """Measure each section in its time, then what was not reached in what time is left."""
        self.left = {section.name: list(section.probes) for section in self.sections}
        shares = sum(section.share for section in self.sections)
        for section in self.sections:
            now = time.monotonic()
            part_s = max(0.0, self.deadline - now) * section.share / shares
            shares -= section.share
            self._section(section.name, min(self.deadline, now + part_s))
        for section in self.sections:
            self._section(section.name, self.deadline)

    def end(self) -> Calibration:
        """Return all that was found, and save it for the last time."""
        if self.stopped:
            self.found = replace(self.found, notes=(*self.found.notes, self.stopped))
        self.found = self.found.closed(time.monotonic() - self.began, not self.stopped, self._summaries())
        self.save(self.found)
        return self.found

    def _section(self, name: str, until: float) -> None:
        begin = time.monotonic()
        probes = self.left[name]
        while probes and time.monotonic() < until:
            probe = probes.pop(0)
            self._say(name, probe)
            longest = LONGEST_ANCHOR_S if isinstance(probe, AnchorProbe) else LONGEST_PROBE_S
            # A probe is begun in time, and may then take longer than its section has, but never than all.
            self.found.records.extend(self.process.run(name, probe, min(longest, self._left_s(probe))))
            self._save_now_and_then()
        self.spent_s[name] = self.spent_s.get(name, 0.0) + time.monotonic() - begin

    def _left_s(self, probe: Probe) -> float:
        grace = 10.0 if isinstance(probe, AnchorProbe) else 5.0
        return max(grace, self.deadline - time.monotonic())

    def _summaries(self) -> dict[str, SectionSummary]:
        summaries = {}
        for section in self.sections:
            records = [r for r in self.found.records if r.section == section.name]
            failed = sum(isinstance(r, FailedRecord) for r in records)
            unreached = len(self.left.get(section.name, section.probes))
            spent_s = self.spent_s.get(section.name, 0.0)
            summaries[section.name] = SectionSummary(len(records) - failed, failed, unreached, spent_s)
        return summaries

    def _say(self, section: str, probe: Probe) -> None:
        total_s = self.deadline - self.began
        done_s = min(time.monotonic() - self.began, total_s)
        self.tell(Progress("measure", done_s, total_s, f"{section}: {probe.name}"))

    def _save_now_and_then(self) -> None:
        if time.monotonic() - self.saved_at < _SAVE_EVERY_S:
            return
        self.saved_at = time.monotonic()
        self.save(self.found.closed(self.saved_at - self.began, False, self._summaries()))
