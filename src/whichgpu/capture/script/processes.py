"""Processes that a script starts to train in: the first of them runs here, in this one, and the others not at all."""

from __future__ import annotations

import multiprocessing.connection
import multiprocessing.process
import multiprocessing.queues
import multiprocessing.synchronize
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.multiprocessing

from whichgpu.capture.patches import Patches
from whichgpu.capture.script.seen import Seen

ONE_OF_THEM = "The script starts processes of its own to train in: the first of them was followed."
_OF_LOADERS = "torch.utils.data"
# What a process that trains has no need of, and one that fetches data or plays has.
_CHANNELS = (
    multiprocessing.connection.Connection,
    multiprocessing.queues.Queue,
    multiprocessing.queues.SimpleQueue,
)
# What one is called by that looks on how well the shared model does, often without an end.
_LOOKS_ON = ("test", "eval", "valid")


def install(patches: Patches, seen: Seen) -> None:
    """Run the first of the processes that train in place of all of them."""

    def start_processes(fn: Callable[..., Any], args: Any = (), nprocs: int = 1, *rest: Any, **options: Any) -> Any:
        if nprocs > 1:
            seen.tell(ONE_OF_THEM)
            seen.world_size = max(seen.world_size, nprocs)
        fn(0, *args)
        return _Joined()

    for name in ("spawn", "start_processes"):
        patches.set(torch.multiprocessing, name, start_processes)
        patches.set(sys.modules["torch.multiprocessing.spawn"], name, start_processes)
    process_class = multiprocessing.process.BaseProcess
    plain_start = process_class.start
    followed = 0
    here = os.getpid()

    def start(process: Any) -> None:
        nonlocal followed
        if _looks_on(process):
            process._popen = _Ended()
            return
        if not _trains(process):
            if os.getpid() == here:
                _name(seen, getattr(process._target, "__qualname__", type(process).__name__), process._target)
            plain_start(process)
            return
        process._popen = _Ended()
        followed += 1
        if followed == 1:
            # How many there will be nobody knows yet.
            seen.tell(ONE_OF_THEM)
            process.run()

    patches.set(process_class, "start", start)
    plain_popen = subprocess.Popen.__init__

    def popen(program: Any, args: Any, *rest: Any, **options: Any) -> None:
        if os.getpid() == here:
            words = [args] if isinstance(args, (str, bytes, os.PathLike)) else list(args)
            _name(seen, " ".join(os.fsdecode(word) for word in words[:2]))
        plain_popen(program, args, *rest, **options)

    patches.set(subprocess.Popen, "__init__", popen)


def _name(seen: Seen, name: str, target: Any = None) -> None:
    """Remember a process that runs beside this one, unless it loads data."""
    if name not in seen.processes and not getattr(target, "__module__", "").startswith(_OF_LOADERS):
        seen.processes.append(name)


def _trains(process: Any) -> bool:
    """Return whether a process gets an optimizer, a model, or a rank and nothing to exchange data through."""
    given = (*process._args, *process._kwargs.values())
    if process.daemon or process._target is None:
        return False
    if any(isinstance(value, torch.optim.Optimizer) for value in given):
        return True
    if any(isinstance(value, _CHANNELS) for value in given):
        return False
    if _has_model(given):
        return True
    is_locked = any(isinstance(value, multiprocessing.synchronize.SemLock) for value in given)
    return bool(process._args) and type(process._args[0]) is int and not is_locked


def _looks_on(process: Any) -> bool:
    """Return whether a process gets a model, by its name only to test it."""
    given = (*process._args, *process._kwargs.values())
    name = getattr(process._target, "__name__", "").lower()
    has_optimizer = any(isinstance(value, torch.optim.Optimizer) for value in given)
    return name.startswith(_LOOKS_ON) and _has_model(given) and not has_optimizer


def _has_model(given: Sequence[Any]) -> bool:
    return any(isinstance(v, torch.nn.Module) and next(v.parameters(), None) is not None for v in given)


class _Joined:
    """What a group of processes is once all have ended."""

    processes: tuple[Any, ...] = ()

    def join(self, *args: Any, **kwargs: Any) -> bool:
        """Say that all have ended."""
        return True

    def pids(self) -> list[int]:
        """Return that of none."""
        return []


class _Ended:
    """What stands behind a process that has ended well."""

    returncode = 0
    pid = sentinel = 0

    def poll(self, *args: Any) -> int:
        """Return its exit code."""
        return 0

    wait = poll

    def close(self) -> None:
        """Do nothing: there is nothing open."""

    terminate = kill = close
