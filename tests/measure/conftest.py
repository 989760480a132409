"""Jobs small enough to be trained in a test, and a machine that is recognised without looking."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from whichgpu.measure.target import Target


@dataclass
class SleepingJob:
    """A job whose step takes a known time: a fixed part and a part for each sample."""

    fixed_s: float = 0.0
    per_sample_s: float = 0.001
    batch: int = 32
    name: str = "sleeper"
    title: str = "Sleeper"
    precision: str = "fp32"
    precisions: tuple[str, ...] = ("fp32", "amp-fp16")
    layout: str = ""
    samples_per_epoch: int = 1000
    sample: str = "nap"
    refuses_above: int | None = None
    asked: list[tuple[int, str, str, str]] = field(default_factory=list)
    steps: int = 0

    def training_step(self, batch: int, device: str, precision: str, layout: str) -> Callable[[], float]:
        self.asked.append((batch, device, precision, layout))

        def step() -> float:
            if self.refuses_above is not None and batch > self.refuses_above:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")
            self.steps += 1
            time.sleep(self.fixed_s + self.per_sample_s * batch)
            return 0.0

        return step


class VirtualTime:
    """A clock that only sleeping moves: however busy the machine, a step takes what it sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def perf_counter(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def virtual_time(monkeypatch: pytest.MonkeyPatch) -> VirtualTime:
    """Measure by a clock that only the steps of a `SleepingJob` move."""
    clock = VirtualTime()
    users: list[Any] = [importlib.import_module(f"whichgpu.measure.{name}") for name in ("measure", "stepper")]
    for user in [*users, sys.modules[__name__]]:
        monkeypatch.setattr(user, "time", clock)
    return clock


@pytest.fixture
def this_is_acme(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the CPU without looking at it."""
    cpu = classmethod(lambda cls, threads: cls("cpu", "Acme CPU 1000", "Acme 1000", (f"{threads} threads",)))
    monkeypatch.setattr(Target, "_cpu", cpu)
