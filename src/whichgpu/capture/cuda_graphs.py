"""CUDA graphs on the phantom GPU: capturing one writes its ops down, replaying it launches them again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from whichgpu.capture.phantom_tensor import CUDA
from whichgpu.capture.recorder import Recorder
from whichgpu.graph import Op, Tensor
from whichgpu.graph.op import GRAPH_LAUNCH, REPLAYED

if TYPE_CHECKING:
    from whichgpu.capture.fake_device import FakeDevice
    from whichgpu.graph import Phase

NOTE = "The step uses CUDA graphs: the host launches each of them once, not its kernels."


class _Tape(Recorder):
    """The ops of a captured graph, each also told to the recorder of the step if there is one."""

    def __init__(self, device: FakeDevice) -> None:
        super().__init__(device.storages)
        self.outer = device.recorder

    def record(self, traits: Any, args: Any, kwargs: dict[str, Any], out: Any) -> None:
        """Write a call down."""
        if self.outer is not None:
            self.outer.record(traits, args, kwargs, out)
        super().record(traits, args, kwargs, out)

    def record_transfer(self, name: str, inputs: dict[str, torch.Tensor], out: torch.Tensor, **told: Any) -> None:
        """Write a copy down."""
        if self.outer is not None:
            self.outer.record_transfer(name, inputs, out, **told)
        super().record_transfer(name, inputs, out, **told)

    def append(self, op: Op) -> None:
        """Append one op."""
        self.ops.append(replace(op, phase=_phase_of(op), attributes={**op.attributes, REPLAYED: True}))

    def _tensor(self, tensor: torch.Tensor) -> Tensor:
        # Memory of a graph lies in its pool for as long as the graph lives, not in storages of its tensors.
        return Tensor(
            tuple(tensor.shape),
            str(tensor.dtype).removeprefix("torch."),
            None if tensor.is_contiguous() else tensor.stride(),
        )


def _phase_of(op: Op) -> Phase:
    """Guess the phase of an op from its name: whoever replays a graph says nothing of what is inside."""
    if "foreach" in op.name or "_fused_" in op.name:
        return "optimizer"
    return "backward" if "backward" in op.name else "forward"


def graph_class(device: FakeDevice, tell: Callable[[str], None]) -> type:
    """Return what stands for torch.cuda.CUDAGraph; `tell` takes what a reader of the result must know."""

    class CUDAGraph:
        """The ops that ran while it was captured, and the memory they need."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._ops: list[Op] = []
            self._pool: Any = None
            self._tape: _Tape | None = None

        def capture_begin(self, *args: Any, **kwargs: Any) -> None:
            """Begin to write ops down."""
            tell(NOTE)
            self._before = (device.storages.allocated_bytes, device.storages.peak_bytes)
            device.storages.reset_peak()
            device.recorder = self._tape = _Tape(device)

        def capture_end(self) -> None:
            """Stop, and keep the memory that the ops held at most and their results do not hold any more."""
            assert self._tape is not None
            device.recorder, self._ops, self._tape = self._tape.outer, self._tape.ops, None
            storages = device.storages
            left = storages.peak_bytes - max(storages.allocated_bytes, self._before[0])
            storages.peak_bytes = max(storages.peak_bytes, self._before[1])
            self._pool = torch.empty(max(left, 0), dtype=torch.uint8, device=CUDA)

        def replay(self) -> None:
            """Launch the ops again."""
            if device.recorder is not None:
                device.recorder.append(Op(GRAPH_LAUNCH, {}, ()))
                for op in self._ops:
                    device.recorder.append(op)

        def reset(self) -> None:
            """Drop the ops and the memory."""
            self._ops, self._pool = [], None

        def pool(self) -> tuple[int, int]:
            """Return a handle of its memory."""
            return (0, 1)

        def instantiate(self) -> None:
            """Do nothing."""

        def enable_debug_mode(self) -> None:
            """Do nothing."""

        def debug_dump(self, path: str) -> None:
            """Do nothing."""

    return CUDAGraph


def is_capturing(device: FakeDevice) -> bool:
    """Return whether a CUDA graph is being captured."""
    return isinstance(device.recorder, _Tape)


def make_graphed_callables(callables: Any, sample_args: Any, *args: Any, **kwargs: Any) -> Any:
    """Return the callables as they are: their ops are the same, launched one by one."""
    return callables
