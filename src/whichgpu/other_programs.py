"""How busy other programs kept the processors while a job was measured: a crowded machine measures slow."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

# Part of the processors that other programs may want beyond those left over, before a reader is told.
_TOLERATED = 0.1


@dataclass(frozen=True, slots=True)
class ProcessorTime:
    """Seconds of processor time since the machine started.

    Attributes:
        busy_s: Spent by all programs, and by other machines on the same host.
        total_s: Spent or idle.
        own_s: Spent by this process; or by all of its session, where that was asked for.
        processors: How many there are.
    """

    busy_s: float
    total_s: float
    own_s: float
    processors: int

    @classmethod
    def now(cls, stat: Path = Path("/proc/stat"), *, with_session: bool = False) -> ProcessorTime | None:
        """Return the time so far; None where the system does not tell it in ``/proc/stat``.

        Source: proc(5): user, nice, system, idle, iowait, irq, softirq, steal, in clock ticks.

        Args:
            stat: What the system tells.
            with_session: Whether what other processes of this session spend is this one's, too: those that load data.
        """
        try:
            lines = stat.read_text().splitlines()
            ticks = [int(value) for value in lines[0].split()[1:9]]
            ticks_per_s = os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, IndexError, AttributeError):
            return None
        total, idle = sum(ticks), sum(ticks[3:5])
        own = os.times()
        own_s = own.user + own.system
        return cls(
            busy_s=(total - idle) / ticks_per_s,
            total_s=total / ticks_per_s,
            own_s=max(own_s, _session_ticks(stat.parent) / ticks_per_s) if with_session else own_s,
            processors=sum(line.startswith("cpu") for line in lines) - 1,
        )

    def others_since(self, before: ProcessorTime) -> float:
        """Return how many processors others kept busy, on average, since `before`."""
        passed_s = (self.total_s - before.total_s) / max(self.processors, 1)
        if passed_s <= 0:
            return 0.0
        return max(0.0, (self.busy_s - before.busy_s) - (self.own_s - before.own_s)) / passed_s


def _session_ticks(proc: Path) -> int:
    """Return what the live processes of this session, and those they waited for, have spent, in clock ticks.

    Source: proc(5), /proc/pid/stat: fields 6 (session) and 14 to 17 (utime, stime, cutime, cstime).
    """
    session, ticks = os.getsid(0), 0
    for path in proc.glob("[0-9]*/stat"):
        try:
            # A program's name stands in brackets, and may hold spaces and brackets.
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[3]) == session:
            ticks += sum(map(int, fields[11:15]))
    return ticks


def crowding_note(before: ProcessorTime | None, after: ProcessorTime | None, threads: int) -> tuple[str, ...]:
    """Return what to say if other programs took processors that `threads` threads needed between the two times."""
    if before is None or after is None:
        return ()
    others, processors = after.others_since(before), after.processors
    if others + threads <= processors * (1 + _TOLERATED):
        return ()
    return (f"Other programs kept {others:.1f} of {processors} processors busy meanwhile: a quiet machine is faster.",)
