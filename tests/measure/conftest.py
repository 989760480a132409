"""Jobs small enough to be trained in a test, and a machine that is recognised without looking."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

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


@pytest.fixture
def this_is_acme(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the CPU without looking at it."""
    cpu = classmethod(lambda cls, threads: cls("cpu", "Acme CPU 1000", "Acme 1000", (f"{threads} threads",)))
    monkeypatch.setattr(Target, "_cpu", cpu)
