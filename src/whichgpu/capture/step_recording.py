"""Recording what runs on the phantom GPU between two moments, as a graph."""

from __future__ import annotations

import gc

from whichgpu.capture.accumulation import accumulated_in_place
from whichgpu.capture.phantom import Phantom
from whichgpu.capture.recorder import Recorder
from whichgpu.capture.step_watch import StepWatch
from whichgpu.errors import CaptureError
from whichgpu.graph import Graph

PLACEHOLDERS = (
    "Numbers the step reads back (a loss to print) were made up: the phantom GPU computes none. "
    "Work that depends on them may differ."
)


class StepRecording:
    """The recording of one step, begun at once.

    Garbage is collected before and not during it, so that when a storage is freed does not hang on the collector.

    Args:
        phantom: The phantom GPU the step runs on.
        watch: The hooks that know where in the step it is.

    Raises:
        CaptureError: If another recording is going on.
    """

    def __init__(self, phantom: Phantom, watch: StepWatch) -> None:
        self._device = phantom.device
        self._watch = watch
        if self._device.recorder is not None:
            raise CaptureError("capture() was called inside of a step that is being captured.")
        # Garbage of what ran before must not count as memory of the step.
        gc.collect()
        self._was_collecting = gc.isenabled()
        gc.disable()
        self._placeholders = self._device.placeholders_read
        self._recorder = Recorder(self._device.storages)
        self._device.storages.start()
        watch.mark_residents()
        watch.tell(self._recorder)
        self._device.recorder = self._recorder

    def stop(self) -> None:
        """Write down no more ops; results of the step may be held until `graph` is called."""
        self._device.recorder = None
        self._watch.tell(None)
        if self._was_collecting:
            gc.enable()

    def graph(self) -> Graph:
        """Return what was recorded, and end it."""
        self.stop()
        self._watch.mark_residents()
        storages = self._device.storages.stop()
        return accumulated_in_place(Graph(tuple(self._recorder.ops), storages), self._recorder.sums.indices)

    @property
    def length(self) -> int:
        """How many ops were recorded so far."""
        return len(self._recorder.ops)

    @property
    def read_placeholders(self) -> bool:
        """Whether values were read back that the phantom GPU does not have."""
        return self._device.placeholders_read > self._placeholders


def uses_device(graph: Graph) -> bool:
    """Return whether anything in `graph` ran on the phantom GPU; a replayed CUDA graph tells of no storages."""
    return any(
        t.storage is not None or op.name.startswith("aten.")
        for op in graph.ops
        for t in (*op.input_tensors(), *op.output_tensors())
    )
