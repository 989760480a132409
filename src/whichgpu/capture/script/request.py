"""What the parent asks of the child process that runs the script once, as a JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from whichgpu.capture.script.call import ScriptCall

PassKind = Literal["phantom", "real"]


@dataclass(frozen=True, slots=True)
class PassRequest:
    """One pass over the script.

    Attributes:
        call: The script.
        kind: "phantom": record a step on the phantom GPU; "real": time steps on this machine's CPU.
        scratch: Folder for the result, for temporary files and for what the script writes.
        seconds: How long the real pass times steps.
        allow_writes: Whether the script may write where it wants.
        pretends_cuda: Whether torch says in the real pass that there is a GPU, which is then this CPU.
        with_autocast: Whether the real pass computes under autocast what the script does on a GPU.
        world_size: Processes the script was to train with.
        variables: What a launcher would have told it in its environment; empty if none would have started it.
        on_gpu: Whether a script that trains on the CPU is taken for one that puts its model on a GPU.
        autocast: dtype of autocast that is put around the script; "" for none but its own.
        backward_calls: Backward passes whose gradients a step adds up, each of a batch, as the phantom pass saw it.
        optimizers: Optimizers a step runs through, as the phantom pass saw it; 0 if it did not.
        step_marker: "module:function" whose return ends a step; "" to find out.
    """

    call: ScriptCall
    kind: PassKind
    scratch: str
    seconds: float = 10.0
    allow_writes: bool = False
    pretends_cuda: bool = False
    with_autocast: bool = False
    world_size: int = 1
    variables: Mapping[str, str] = field(default_factory=dict)
    step_marker: str = ""
    on_gpu: bool = False
    autocast: str = ""
    backward_calls: int = 1
    optimizers: int = 0

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {**asdict(self), "call": self.call.to_document(), "variables": dict(self.variables)}

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> PassRequest:
        """Return what `to_document` described."""
        return replace(cls(**document), call=ScriptCall.from_document(document["call"]))
