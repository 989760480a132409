"""What calibration runs: calls of operators, calls of the host, whole steps. Plain data; no framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from whichgpu.graph import Op

# How a sequence of ops is timed: as Python issues it, replayed as one CUDA graph (no host between the kernels), or
# whichever tells how long the device takes.
Way = Literal["eager", "graph", "auto"]
Task = Literal["train", "infer"]


@dataclass(frozen=True, slots=True)
class KernelProbe:
    """Ops to be called on the device, one after the other.

    What an op returns need not be said: the record has what it really returned. A tensor with a `storage` is what an
    earlier op of the probe returned in an output of that storage, or else one tensor for all that share it.

    Attributes:
        name: One line for people: "mm 8192 x 8192 x 8192, bfloat16".
        ops: What is timed.
        setup: Ops whose results `ops` need; called once, before.
        tf32: Whether float32 products and convolutions may run in TF32.
        cold: Whether operands come from memory: sets of them take turns, more than the caches hold.
        sustain_s: How long to keep the device at it, power and clocks read meanwhile; 0 for a short timing.
        way: How it is timed.
        below: Exclusive bound of the integers in an input, by its name: rows of an embedding.
    """

    name: str
    ops: tuple[Op, ...]
    setup: tuple[Op, ...] = ()
    tf32: bool = False
    cold: bool = False
    sustain_s: float = 0.0
    way: Way = "auto"
    below: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TransferProbe:
    """A copy between host and device.

    Attributes:
        op: "memcpy.h2d" or "memcpy.d2h" of a tensor of bytes.
        pinned: Whether the host's memory is page-locked; the copy then does not block.
    """

    op: Op
    pinned: bool

    @property
    def name(self) -> str:
        """One line for people."""
        nbytes = self.op.tensor("self").nbytes
        return f"{self.op.name} of {nbytes:,} bytes, {'pinned' if self.pinned else 'pageable'}"


@dataclass(frozen=True, slots=True)
class HostProbe:
    """Something the host does, by its name in `whichgpu.measure.calibration.host_calls`."""

    name: str


@dataclass(frozen=True, slots=True)
class AnchorProbe:
    """Whole steps of a built-in job.

    Attributes:
        job: Its name.
        batch: Samples of one step.
        precision: What it runs in.
        layout: Memory format of images, or "".
        task: "train" for optimizer steps, "infer" for the forward pass and the loss, without gradients.
        compiled: Whether `torch.compile` makes its kernels.
        grow: Whether larger batches follow, doubled until one does not fit: each is a record of its own.
    """

    job: str
    batch: int
    precision: str
    layout: str = ""
    task: Task = "train"
    compiled: bool = False
    grow: bool = False

    @property
    def name(self) -> str:
        """One line for people."""
        more = (self.layout, "compiled" if self.compiled else "", "and larger" if self.grow else "")
        return ", ".join(filter(None, (f"{self.task} {self.job}", f"batch {self.batch}", self.precision, *more)))


Probe: TypeAlias = KernelProbe | TransferProbe | HostProbe | AnchorProbe


@dataclass(frozen=True, slots=True)
class Section:
    """Probes of one kind, the most valuable first.

    Attributes:
        name: What `--only` calls it.
        share: Part of the time given.
        probes: What is measured, as far as time allows.
    """

    name: str
    share: float
    probes: tuple[Probe, ...]


@dataclass(frozen=True, slots=True)
class Scope:
    """What a device can be asked.

    Attributes:
        is_cpu: Whether it is the host's processor.
        formats: Number formats of its products, the most used first: keys of `FORMATS`.
        memory_bytes: Its memory, or what is free of the host's.
        quick: Whether to do with less.
    """

    is_cpu: bool
    formats: tuple[str, ...]
    memory_bytes: float
    quick: bool = False

    @property
    def halves(self) -> tuple[str, ...]:
        """Its 16-bit formats."""
        return tuple(f for f in self.formats if f in ("fp16", "bf16"))


@dataclass(frozen=True, slots=True)
class Format:
    """How a number format shows in a call.

    Attributes:
        dtype: Of the operands.
        tf32: Whether TF32 is allowed.
    """

    dtype: str
    tf32: bool = False


FORMATS: dict[str, Format] = {
    "bf16": Format("bfloat16"),
    "fp16": Format("float16"),
    "tf32": Format("float32", tf32=True),
    "fp32": Format("float32"),
    "fp8": Format("float8_e4m3fn"),
}
