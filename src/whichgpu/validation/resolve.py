"""Resolving rows: what ran, where, in which format, for how long; or why that cannot be said."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from whichgpu.devices import find_device
from whichgpu.devices.device import Device
from whichgpu.errors import UnknownNameError
from whichgpu.graph import PRECISIONS, Op, Precision
from whichgpu.references import Reference, is_known
from whichgpu.references.reference import Task
from whichgpu.validation.kernel_ops import OPERATIONS, kernel_op, kind_of, sizes_of
from whichgpu.validation.nvidia_rows import is_nvidia, nvidia_row
from whichgpu.validation.rows import Row

_LAYOUTS = {"nchw": "nchw", "nhwc": "channels_last", "channels_last": "channels_last", "": ""}
# Units of a throughput that count samples; others count something in them.
_SAMPLES = ("img/s", "seq/s", "samples/s", "")
# Sources whose throughput is no step's: tuned submissions, whole trainings.
_ENVELOPES = {"mlperf": "a tuned submission, no plain step"}
# Since when timm's runs of inference merge the branches of models made for it: MobileOne got 2.5 times faster.
_FIRST_MERGED = (2, 9)
# Models whose layers were not torch's own when they were published: before timm 0.9, which came with torch 2, TResNet
# normalized by the package inplace_abn, whose kernels go through a channel at a time. Where channels lie innermost each
# element costs them a sector of 32 bytes: a step took 2.4 to 4 times what it took with channels outermost.
_FOREIGN_NORMS, _TORCHS_OWN_SINCE = ("timm:tresnet",), (2, 0)
STRICT_FP32 = replace(PRECISIONS["fp32"], convolution_tf32=False)


@dataclass(frozen=True, slots=True)
class Case:
    """A row that can be predicted.

    Attributes:
        row: What was measured.
        device: Where.
        job: The published job, or None where the row is one kernel.
        batch: Samples a step; 1 for a kernel.
        precision: What to price.
        compiled: Whether a compiler fuses the step.
        torch: Major and minor version of torch, if said.
        measured_s: Time of a step or kernel, in seconds.
    """

    row: Row
    device: Device
    job: Reference | None
    batch: int
    precision: Precision
    compiled: bool
    torch: tuple[int, int] | None
    measured_s: float

    @property
    def op(self) -> Op:
        """The kernel, where the row is one."""
        return kernel_op(self.row.model, self.row.sizes)

    @property
    def name(self) -> str:
        """The job's name, or the kind of kernel."""
        return self.row.model if self.job is not None else kind_of(self.row.model)


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A row that cannot be predicted, and why, in words that hold for all of its kind."""

    row: Row
    reason: str


def resolve(row: Row) -> Case | Unresolved:
    """Return what a row is a measurement of."""
    try:
        return _kernel(row) if row.task == "kernel" else _job(row)
    except _ReasonError as reason:
        return Unresolved(row, str(reason))


class _ReasonError(Exception):
    """Why a row cannot be resolved."""


def _kernel(row: Row) -> Case:
    device = _device(row)
    if row.model not in OPERATIONS:
        raise _ReasonError(f"no such kernel is known: {row.model}")
    if row.precision != "fp32":
        raise _ReasonError(f"kernels are known in fp32 only, not in {row.precision}")
    if not row.step_s:
        raise _ReasonError("no time is given")
    if not all(row.sizes.get(size) for size in sizes_of(row.model)):
        raise _ReasonError("sizes of the kernel are missing")
    return Case(row, device, None, 1, STRICT_FP32, False, torch_version(row.framework_version), row.step_s)


def _job(row: Row) -> Case:
    if row.source in _ENVELOPES:
        raise _ReasonError(f"{row.source}: {_ENVELOPES[row.source]}")
    if row.gpu_count > 1:
        raise _ReasonError("more than one device")
    device = _device(row)
    if row.task not in ("train", "infer"):
        raise _ReasonError(f"no such task is known: {row.task or 'none given'}")
    if not row.model:
        raise _ReasonError("no model is named")
    sample, version = sample_shape(row.input_shape), torch_version(row.framework_version)
    nvidia = nvidia_row(row, sample, version) if is_nvidia(row) else None
    name = row.model
    if nvidia is not None:
        name, sample, version = nvidia.name, nvidia.sample, nvidia.torch
    if not is_known(name):
        raise _ReasonError(f"no definition of {_family(row.model)}")
    batch = row.batch_per_gpu
    if batch is None or batch < 1 or batch != int(batch):
        raise _ReasonError("no batch is given")
    if row.layout not in _LAYOUTS:
        raise _ReasonError(f"no such layout is known: {row.layout}")
    precision = _precision(row, nvidia is not None)
    layout = _layout(row, sample, "" if nvidia is None else nvidia.layout)
    is_early = version is not None and version < _TORCHS_OWN_SINCE
    if name.startswith(_FOREIGN_NORMS) and layout == "channels_last" and is_early:
        raise _ReasonError("its norms were kernels of inplace_abn, slow on channels innermost; today's are torch's")
    job = Reference(
        name,
        _task(row),
        "fp32" if precision.name == "tf32" else precision.name,
        nvidia.recipe if nvidia is not None and precision.autocast else "autocast",
        layout,
        sample,
        1 if nvidia is not None or (version is not None and version < (2, 0)) else 2,
        merged=row.source == "timm" and row.task == "infer" and version is not None and version >= _FIRST_MERGED,
    )
    compiled = bool(row.compiled)
    counted = None if nvidia is None else nvidia.counted
    measured_s = _measured_s(row, int(batch), sample, counted)
    return Case(row, device, job, int(batch), precision, compiled, version, measured_s)


def _device(row: Row) -> Device:
    if not row.gpu:
        raise _ReasonError("no device is named")
    try:
        return find_device(row.gpu)
    except UnknownNameError:
        raise _ReasonError(f"no device file has {row.gpu}") from None


def _task(row: Row) -> Task:
    if row.task == "infer":
        return "infer"
    # NeuSight times forward and backward, and no update.
    return "gradients" if row.source == "neusight" else "train"


def _precision(row: Row, nvidia: bool) -> Precision:
    if row.precision == "fp16" and nvidia:
        return PRECISIONS["amp-fp16"]
    if row.precision not in PRECISIONS:
        raise _ReasonError(f"no such precision is known: {row.precision}" if row.precision else "no precision is given")
    return STRICT_FP32 if row.source == "neusight" else PRECISIONS[row.precision]


def _layout(row: Row, sample: tuple[int, ...], usual: str) -> str:
    found = _LAYOUTS[row.layout] or usual
    return found or ("nchw" if len(sample) == 3 else "")


def _measured_s(row: Row, batch: int, sample: tuple[int, ...], counted: float | None) -> float:
    if row.step_s:
        return row.step_s
    if not row.throughput:
        raise _ReasonError("no time is given")
    if counted is not None:
        return batch * counted / row.throughput
    if row.unit in _SAMPLES:
        return batch / row.throughput
    if row.unit == "tok/s" and len(sample) == 1:
        return batch * sample[0] / row.throughput
    raise _ReasonError(f"a throughput in {row.unit} says nothing of steps")


def sample_shape(text: str) -> tuple[int, ...]:
    """Return the shape of a sample: "3x224x224" -> (3, 224, 224), "seq 512" and "tgt_len 192 ..." -> (512,), (192,)."""
    if match := re.match(r"(\d+)x(\d+)x(\d+)\b", text):
        return tuple(int(n) for n in match.groups())
    if match := re.match(r"(?:seq|tgt_len) (\d+)\b", text):
        return (int(match[1]),)
    return ()


def torch_version(text: str) -> tuple[int, int] | None:
    """Return major and minor version: "1.9.0a0+df837d0" -> (1, 9); None if there is none."""
    match = re.match(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


def _family(model: str) -> str:
    """Return what a model is counted under: its own name without sizes in brackets."""
    return model.partition(" (")[0]
