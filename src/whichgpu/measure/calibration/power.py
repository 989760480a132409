"""Power, clocks and temperature of an NVIDIA GPU, read by NVIDIA's management library while something runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from whichgpu.measure.calibration.record import Power
from whichgpu.units import KILO, MEGA, MILLI

_EVERY_S = 0.02
# Bits of nvmlDeviceGetCurrentClocksEventReasons that say that something held the clock back.
# Source: nvml.h of CUDA 13, nvmlClocksEventReason*.
HELD_BACK = {
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake",
}
# The library's name for them changed; a version has one or both.
_REASONS = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")


class PowerMeter:
    """Reads one GPU; every value the driver does not tell stays unknown, and without a driver all do.

    Args:
        nvml: The module ``pynvml``, initialised; None where there is none.
        handle: Of the GPU.
    """

    def __init__(self, nvml: Any = None, handle: Any = None) -> None:
        self._nvml = nvml
        self._handle = handle

    @classmethod
    def of_gpu(cls, uuid: str) -> PowerMeter:
        """Return the meter of the GPU torch knows by `uuid`; one that reads nothing if it is not to be had."""
        try:
            import pynvml
        except ImportError:
            return cls()
        return cls.opened(pynvml, uuid)

    @classmethod
    def opened(cls, nvml: Any, uuid: str) -> PowerMeter:
        """Return the meter of a GPU by a library that is not initialised yet."""
        try:
            nvml.nvmlInit()
            name = uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
            with suppress(nvml.NVMLError):
                return cls(nvml, nvml.nvmlDeviceGetHandleByUUID(name))
            # Where a container hides the id, a GPU that is alone is the one.
            if nvml.nvmlDeviceGetCount() == 1:
                return cls(nvml, nvml.nvmlDeviceGetHandleByIndex(0))
        except nvml.NVMLError:
            pass
        return cls()

    @property
    def is_there(self) -> bool:
        """Whether anything can be read."""
        return self._handle is not None

    def ask(self, function: str, *arguments: object) -> Any:
        """Return what a function of the library tells of the GPU; None if it tells nothing."""
        if self._handle is None:
            return None
        with suppress(self._nvml.NVMLError, AttributeError):
            resolved = (getattr(self._nvml, a) if isinstance(a, str) else a for a in arguments)
            return getattr(self._nvml, function)(self._handle, *resolved)
        return None

    def ask_library(self, function: str) -> Any:
        """Return what a function of the library tells that is about no single GPU; None if it tells nothing."""
        if self._handle is None:
            return None
        with suppress(self._nvml.NVMLError, AttributeError):
            return getattr(self._nvml, function)()
        return None

    def scaled(self, factor: float, function: str, *arguments: object) -> float | None:
        """Return what `ask` does as a number times `factor`."""
        value = self.ask(function, *arguments)
        return None if value is None else float(value) * factor

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        """Read every 20 ms on a thread of its own while the block runs."""
        reading = Reading(self)
        if not self.is_there:
            yield reading
            return
        reading.begin()
        try:
            yield reading
        finally:
            reading.end()


@dataclass(slots=True)
class Reading:
    """Samples of one stretch of time."""

    meter: PowerMeter
    power_w: list[float] = field(default_factory=list)
    sm_clock_hz: list[float] = field(default_factory=list)
    memory_clock_hz: list[float] = field(default_factory=list)
    reasons: int = 0
    samples: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _began: float = 0.0
    _ended: float = 0.0
    _joules: tuple[float | None, float | None] = (None, None)
    _temperature: float | None = None

    def begin(self) -> None:
        """Start to read."""
        self._began = time.perf_counter()
        self._joules = (self._energy(), None)
        self._thread = threading.Thread(target=self._run, name="whichgpu-power", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Read for the last time."""
        self._ended = time.perf_counter()
        self._joules = (self._joules[0], self._energy())
        self._temperature = self.meter.scaled(1.0, "nvmlDeviceGetTemperature", "NVML_TEMPERATURE_GPU")
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    @property
    def power(self) -> Power | None:
        """What was read; None where there was nothing to read."""
        if not self.meter.is_there:
            return None
        seconds = self._ended - self._began
        first, last = self._joules
        counted = None if first is None or last is None or last <= first else (last - first) / seconds
        sampled = sum(self.power_w) / len(self.power_w) if self.power_w else None
        return Power(
            seconds=seconds,
            power_w=sampled if counted is None else counted,
            power_source="samples" if counted is None else "energy counter",
            sm_clock_hz=_middle(self.sm_clock_hz),
            sm_clock_low_hz=min(self.sm_clock_hz, default=None),
            memory_clock_hz=_middle(self.memory_clock_hz),
            temperature_c=self._temperature,
            throttled_by=tuple(name for bit, name in HELD_BACK.items() if self.reasons & bit),
            samples=self.samples,
        )

    def _energy(self) -> float | None:
        return self.meter.scaled(MILLI, "nvmlDeviceGetTotalEnergyConsumption")

    def _run(self) -> None:
        asked: tuple[tuple[list[float], Callable[[], float | None]], ...] = (
            (self.power_w, lambda: self.meter.scaled(1 / KILO, "nvmlDeviceGetPowerUsage")),
            (self.sm_clock_hz, lambda: self.meter.scaled(MEGA, "nvmlDeviceGetClockInfo", "NVML_CLOCK_SM")),
            (self.memory_clock_hz, lambda: self.meter.scaled(MEGA, "nvmlDeviceGetClockInfo", "NVML_CLOCK_MEM")),
        )
        while True:
            for values, read in asked:
                value = read()
                if value is not None:
                    values.append(value)
            for name in _REASONS:
                self.reasons |= int(self.meter.ask(name) or 0)
            self.samples += 1
            if self._stop.wait(_EVERY_S):
                return


def _middle(values: list[float]) -> float | None:
    return median(values) if values else None
