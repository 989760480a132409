"""Running and timing training steps so that Ctrl-C is heard while one runs."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

# Steps shorter than this are timed in groups, so that waiting for the device once a group, not once a step, leaves
# host and device overlapping as they do in training.
GROUP_S = 0.02


class Stepper:
    """A thread that runs steps while the caller waits.

    A signal reaches Python only between bytecodes of the main thread, and the backward pass of a large model is one
    call of many seconds. So steps run on a thread of their own; the main thread waits and can be interrupted at once.

    Until it is closed, Ctrl-C is remembered and raised where the main thread waits: raised by the signal itself it is
    lost where that comes during a finalizer or a callback of the garbage collector, which drop every exception.

    Attributes:
        interrupted: Whether Ctrl-C came.
    """

    def __init__(self, synchronize: Callable[[], None]) -> None:
        self.interrupted = False
        self._synchronize = synchronize
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="whichgpu-measure")
        self._before = signal.getsignal(signal.SIGINT)
        # Signals belong to the main thread; where they are ignored, or left to the system, they stay so.
        self._listens = callable(self._before) and threading.current_thread() is threading.main_thread()
        if self._listens:
            signal.signal(signal.SIGINT, self._hear)

    def call(self, function: Callable[[], T]) -> T:
        """Run `function` on the thread and return what it returns, or raise what it raises.

        Raises:
            KeyboardInterrupt: If Ctrl-C came, now or before; what runs then is not waited for.
        """
        future: Future[T] = self._pool.submit(function)
        while not future.done() and not self.interrupted:
            # Again and again, because no signal ends a wait where it is only remembered.
            wait((future,), timeout=0.05)
        if self.interrupted:
            raise KeyboardInterrupt
        return future.result()

    def timed(self, step: Callable[[], Any], count: int = 1) -> float:
        """Run `step` `count` times, wait for the device, and return the seconds of one step."""

        def run() -> float:
            self._synchronize()
            begin = time.perf_counter()
            for _ in range(count):
                step()
            self._synchronize()
            return (time.perf_counter() - begin) / count

        return self.call(run)

    def close(self) -> None:
        """Let the thread end once the step it may be in has ended, without waiting for it; give Ctrl-C back."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._listens:
            self._listens = False
            signal.signal(signal.SIGINT, self._before)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.interrupted = True
        if callable(self._before):
            with suppress(KeyboardInterrupt):
                self._before(number, frame)


def group_size(step_s: float) -> int:
    """Return how many steps of `step_s` seconds are timed together."""
    return max(1, round(GROUP_S / step_s)) if step_s < GROUP_S else 1
