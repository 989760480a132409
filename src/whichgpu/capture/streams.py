"""Streams and events of the phantom GPU: everything on them has happened already."""

from __future__ import annotations

from typing import Any

import torch

from whichgpu.capture.patches import Patches
from whichgpu.capture.phantom_tensor import CUDA


class Event:
    """An event of a device that is always ready."""

    device = CUDA
    event_id = cuda_event = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def record(self, stream: Any = None) -> None:
        """Do nothing."""

    def wait(self, stream: Any = None) -> None:
        """Do nothing."""

    def synchronize(self) -> None:
        """Do nothing."""

    def query(self) -> bool:
        """Return that it has happened."""
        return True

    def elapsed_time(self, end_event: Any) -> float:
        """Return a millisecond: a phantom has no time, and callers divide by it."""
        return 1.0

    def ipc_handle(self) -> bytes:
        """Return a handle nobody can open."""
        return b""

    @classmethod
    def from_ipc_handle(cls, device: Any, handle: bytes) -> Event:
        """Return an event that is always ready."""
        return cls()


class Stream:
    """A stream that is always done. All work runs in one order: what overlaps on a GPU is not told apart."""

    device = CUDA
    device_index = 0
    device_type = 1  # CUDA, as C++ numbers kinds of devices
    _made = 0

    def __init__(self, device: Any = None, priority: int = 0, **kwargs: Any) -> None:
        Stream._made += 1
        self.stream_id = self.cuda_stream = Stream._made
        self.priority = priority
        self._before: list[Stream] = []

    def __enter__(self) -> Stream:
        self._before.append(_current[-1])
        _current[-1] = self
        return self

    def __exit__(self, *error: object) -> None:
        _current[-1] = self._before.pop()

    def is_capturing(self) -> bool:
        """Return whether a CUDA graph is being captured."""
        return bool(torch.cuda.is_current_stream_capturing())

    def wait_stream(self, stream: Any) -> None:
        """Do nothing."""

    def wait_event(self, event: Any) -> None:
        """Do nothing."""

    def record_event(self, event: Any = None) -> Any:
        """Return the event, or a new one."""
        return event if event is not None else Event()

    def synchronize(self) -> None:
        """Do nothing."""

    def query(self) -> bool:
        """Return that all is done."""
        return True

    def priority_range(self) -> tuple[int, int]:
        """Return the range of priorities."""
        return (0, -5)


class StreamContext:
    """`with torch.cuda.stream(stream):`, which may be None."""

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream

    def __enter__(self) -> Stream | None:
        return self.stream.__enter__() if self.stream is not None else None

    def __exit__(self, *error: object) -> None:
        if self.stream is not None:
            self.stream.__exit__(*error)


_default = Stream()
_current = [_default]


def current_stream(device: Any = None) -> Stream:
    """Return the stream work is put on now."""
    return _current[-1]


def default_stream(device: Any = None) -> Stream:
    """Return the stream work is put on by default."""
    return _default


def set_stream(stream: Stream | None) -> None:
    """Put further work on `stream`."""
    if stream is not None:
        _current[-1] = stream


def external_stream(stream_ptr: int, device: Any = None, **kwargs: Any) -> Stream:
    """Return a stream that stands for one another library has made."""
    return Stream(device)


ANSWERS: dict[str, Any] = {
    "Event": Event,
    "Stream": Stream,
    "StreamContext": StreamContext,
    "ExternalStream": external_stream,
    "get_stream_from_external": external_stream,
    "stream": StreamContext,
    "current_stream": current_stream,
    "default_stream": default_stream,
    "set_stream": set_stream,
}


def install(patches: Patches) -> None:
    """Let torch.Stream and torch.Event be those of the phantom GPU."""
    _current[-1] = _default
    for name, ours in (("Stream", Stream), ("Event", Event)):
        patches.set(torch, name, ours)
    # C++ would want a stream of its own making; here memory can be used again at once.
    patches.set(torch.Tensor, "record_stream", lambda tensor, stream: None)
