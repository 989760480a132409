"""Running and timing training steps so that Ctrl-C is heard while one runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

T = TypeVar("T")

# Steps shorter than this are timed in groups, so that waiting for the device once a group, not once a step, leaves
# host and device overlapping as they do in training.
GROUP_S = 0.02


class Stepper:
    """A thread that runs steps while the caller waits.

    A signal reaches Python only between bytecodes of the main thread, and the backward pass of a large model is one
    call of many seconds. So steps run on a thread of their own; the main thread waits and can be interrupted at once.
    """

    def __init__(self, synchronize: Callable[[], None]) -> None:
        self._synchronize = synchronize
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="whichgpu-measure")

    def call(self, function: Callable[[], T]) -> T:
        """Run `function` on the thread and return what it returns, or raise what it raises."""
        future: Future[T] = self._pool.submit(function)
        while not future.done():
            # With a time-out, because on Windows an endless wait is deaf to Ctrl-C.
            wait((future,), timeout=0.1)
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
        """Let the thread end once the step it may be in has ended; does not wait for it."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def group_size(step_s: float) -> int:
    """Return how many steps of `step_s` seconds are timed together."""
    return max(1, round(GROUP_S / step_s)) if step_s < GROUP_S else 1
