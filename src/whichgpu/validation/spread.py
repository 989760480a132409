"""Spreading calls over processes that may die: a call that crashes or hangs costs its own result and no other."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class Failed:
    """What stands for the result of a call that brought none: why."""

    reason: str


class _Worker(Generic[T]):
    """One process with a pipe to it, and the task it is at."""

    def __init__(self, function: Callable[[T], Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, function), daemon=True)
        self.process.start()
        theirs.close()
        self.task: T | None = None
        self.since = 0.0

    def give(self, task: T) -> None:
        self.task, self.since = task, time.monotonic()
        self.pipe.send(task)

    def end(self) -> None:
        self.process.terminate()
        self.process.join()
        self.pipe.close()


def spread(
    function: Callable[[T], R], tasks: Sequence[T], processes: int, timeout_s: float = 600.0
) -> Iterator[tuple[T, R | Failed]]:
    """Yield each task with the result of `function`, or why there is none, in the order they are done.

    Args:
        function: A function of a module, called in a process of its own; an exception of its is a failure.
        tasks: Its arguments, which can be pickled.
        processes: How many at a time.
        timeout_s: After these seconds a call has failed and its process is ended.
    """
    waiting = list(reversed(tasks))
    workers: list[_Worker[T]] = []
    try:
        while waiting or any(w.task is not None for w in workers):
            while waiting and len(workers) < processes:
                workers.append(_Worker(function))
                workers[-1].give(waiting.pop())
            ready = multiprocessing.connection.wait([w.pipe for w in workers], _POLL_S)
            for worker in list(workers):
                if worker.pipe in ready:
                    result = _result(worker)
                elif time.monotonic() - worker.since > timeout_s:
                    result = Failed(f"not done after {timeout_s:.0f} s"), False
                else:
                    continue
                assert worker.task is not None
                yield worker.task, result[0]
                worker.task = None
                if result[1] and waiting:
                    worker.give(waiting.pop())
                else:
                    workers.remove(worker)
                    worker.end()
    finally:
        for worker in workers:
            worker.end()


def _result(worker: _Worker[Any]) -> tuple[Any, bool]:
    """Return what a worker sent, and whether it is still alive."""
    try:
        return worker.pipe.recv(), True
    except (EOFError, OSError):
        worker.process.join()
        return Failed(f"its process died with exit code {worker.process.exitcode}"), False


def _serve(pipe: Any, function: Callable[[Any], Any]) -> None:
    """Answer tasks until the other end is gone."""
    # What workers share is the machine's cores: one thread each.
    os.environ["OMP_NUM_THREADS"] = "1"
    while True:
        try:
            task = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            result = function(task)
        except KeyboardInterrupt:
            return
        except Exception as error:
            result = Failed(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}".strip(": "))
        pipe.send(result)
