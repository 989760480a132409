"""The process that measures: it does one probe after the other until it is told to end, or dies of one.

A kernel that fails badly leaves its process unable to use the GPU, and one that hangs can only be killed: so probes run
in a process of their own, and the one that asked for them starts another when it is gone.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from whichgpu.errors import WhichGpuError
from whichgpu.measure.calibration.probe import AnchorProbe, HostProbe, KernelProbe, Probe, Scope
from whichgpu.measure.calibration.record import FailedRecord, Record

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from whichgpu.measure.target import Target

_LONGEST_ERROR = 300


@dataclass(frozen=True, slots=True)
class Ready:
    """What a worker says when it can begin.

    Attributes:
        machine: Description of the machine, as JSON has it.
        scope: What the device can be asked.
        notes: What a reader must know.
    """

    machine: dict[str, Any]
    scope: Scope
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """What a worker says that cannot begin: the error meant for the user."""

    error: WhichGpuError


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a probe.

    Attributes:
        healthy: Whether the device still answers.
    """

    healthy: bool


Message = Ready | Refused | Record | Done
Order = tuple[str, Probe] | Literal["end"]


def work(pipe: Connection, device: str, quick: bool, log: str) -> None:
    """Say what the machine is; then run each probe that `pipe` brings and send back its records.

    Args:
        pipe: To whoever started this process.
        device: What torch calls the device.
        quick: Whether to do with less.
        log: File for whatever libraries print.
    """
    # Ctrl-C is heard by whoever started this, who then ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _redirect(log)
    try:
        bench = _Bench.of(device, quick)
    except WhichGpuError as error:
        pipe.send(Refused(error))
        return
    pipe.send(bench.ready)
    # What is loaded by now stays: the collector need not look at it before every CUDA graph.
    gc.freeze()
    while True:
        order: Order = pipe.recv()
        if order == "end":
            return
        section, probe = order
        try:
            for record in bench.records(section, probe):
                pipe.send(record)
        except Exception as error:  # any kernel may fail in any way, and none may end the calibration
            traceback.print_exc()
            text = " ".join(f"{type(error).__name__}: {error}".split())
            error.__traceback__ = None
            pipe.send(FailedRecord(section, probe.name, text[:_LONGEST_ERROR]))
        pipe.send(Done(bench.is_healthy()))


class _Bench:
    """The device and what times on it."""

    def __init__(self, target: Target, quick: bool) -> None:
        from whichgpu.measure.calibration.anchor_timing import AnchorTimer
        from whichgpu.measure.calibration.kernel_timing import KernelTimer
        from whichgpu.measure.calibration.machine import cache_bytes, machine_form, power_meter, scope_of
        from whichgpu.measure.calibration.timing import Clock

        self._clock = Clock(target.device)
        meter = power_meter(target)
        self._kernels = KernelTimer(self._clock, meter, cache_bytes(target))
        self._anchors = AnchorTimer(target, self._clock, meter)
        silent = () if meter.is_there or not self._clock.is_cuda else (_NO_POWER,)
        notes = (*target.notes, *silent)
        self.ready = Ready(machine_form(target, meter), scope_of(target, quick), notes)

    @classmethod
    def of(cls, device: str, quick: bool) -> _Bench:
        """Return the bench of a device.

        Raises:
            OptionError: If `device` is no name of one.
            MissingExtraError: If torch is not installed.
            MeasureError: If torch cannot use such a device here.
        """
        from whichgpu.measure.target import Target

        target = Target.find(device, "calibration kernels")
        if device.startswith("cuda"):
            import torch

            torch.cuda.set_device(torch.device(device if ":" in device else f"{device}:0"))
        return cls(target, quick)

    def records(self, section: str, probe: Probe) -> Iterator[Record]:
        """Yield what a probe finds."""
        if isinstance(probe, KernelProbe):
            yield self._kernels.run(section, probe)
        elif isinstance(probe, AnchorProbe):
            yield from self._anchors.run(section, probe)
        elif isinstance(probe, HostProbe):
            from whichgpu.measure.calibration.host_calls import time_host_call

            yield time_host_call(section, probe.name, self._clock)
        else:
            from whichgpu.measure.calibration.transfer_timing import time_transfer

            yield time_transfer(section, probe, self._clock)

    def is_healthy(self) -> bool:
        """Return whether the device still computes, what a probe left behind given back."""
        if not self._clock.is_cuda:
            return True
        import torch

        try:
            self._clock.synchronize()
            if torch.cuda.memory_reserved() > _LEFT_RESERVED * torch.cuda.mem_get_info()[1]:
                torch.cuda.empty_cache()
            x = torch.ones(2, device=self._clock.device)
            if self._kernels.graph_failed:
                # What is left of a graph that failed may make every later one fail.
                self._kernels.graph_failed = False
                self._clock.graph(lambda: x * 2, _LEFT_GRAPH_S)
            return bool((x * 2).sum().item() == 4.0)
        except RuntimeError:
            return False


_NO_POWER = "Power and clocks could not be read: nvidia-ml-py is not installed, or the driver does not tell them."
# Part of the memory the allocator may keep for the next probe.
_LEFT_RESERVED = 0.25
_LEFT_GRAPH_S = 1e-3


def _redirect(log: str) -> None:
    """Let all that libraries print go to a file, whether Python or native code prints it."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
