"""Published step times of training ResNet-50 and BERT on one GPU, and the jobs they are of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from benchmarks.bert_large import bert_large
from benchmarks.gpu_names import device_of
from benchmarks.timm_models import timm_job, timm_names
from whichgpu.cost import tabulate
from whichgpu.devices.device import Device
from whichgpu.estimate.recast import recast
from whichgpu.graph import Job, Precision
from whichgpu.graph import precision as precision_named
from whichgpu.work import count_graph
from whichgpu.workloads import workload

if TYPE_CHECKING:
    import pandas as pd

    from whichgpu.cost.kernel_table import KernelTable

SQUAD_TOKENS = 384
# Models of timm's to fit to, and as many to predict only.
TIMM_MODELS = 40
TIMM_SEED = 1
# Runs ten times slower than any board of their class: something else was measured.
BROKEN = {("RTX A4000", "bert-large-384")}
# Software generations by the torch inside: each is 10-20 % faster than the one before on one GPU.
GENERATIONS = ("torch 1.4 or older", "torch 1.5-1.10", "torch 1.11 or newer")
NEWEST = GENERATIONS[-1]


@dataclass(frozen=True)
class StepRow:
    """One published step time.

    Attributes:
        source: Who published it.
        gpu: What they call the GPU.
        device: The device.
        job: "resnet50", "bert-large-384", or "timm:" with the model and the shape of its images.
        precision: What it was trained in.
        layout: "nchw", "channels_last" or "".
        batch: Samples a step.
        software: One of `GENERATIONS`.
        seconds: The step time.
        calibrates: Whether it takes part in the calibration, or is only predicted.
    """

    source: str
    gpu: str
    device: Device
    job: str
    precision: str
    layout: str
    batch: int
    software: str
    seconds: float
    calibrates: bool

    @property
    def math(self) -> Precision:
        """The precision as an object."""
        return precision_named(self.precision)

    @property
    def table(self) -> KernelTable:
        """The kernels of the step."""
        return job_table(self.job, self.precision, self.layout, self.batch)


@cache
def job_table(name: str, precision: str, layout: str, batch: int) -> KernelTable:
    """Return the kernels of a step of one of the published jobs."""
    return tabulate(count_graph(published_job(name, precision, layout, batch).graph, "refuse"))


def published_job(name: str, precision: str, layout: str, batch: int) -> Job:
    """Return one of the published jobs; "-gradients" stands for a step that does not update the weights.

    NVIDIA's BERT trains in float16 throughout, master weights apart (apex O2): that is the step in bfloat16, the format
    renamed, not autocast's.
    """
    if name == "resnet50":
        return workload("resnet50", batch=batch, precision=precision, layout=layout)
    if name.startswith("timm:"):
        _, model, shape = name.split(":")
        channels, height, width = (int(side) for side in shape.split("x"))
        return timm_job(model, layout, batch, (channels, height, width))
    length = int(name.removeprefix("bert-large-").removesuffix("-gradients"))
    if length == SQUAD_TOKENS and precision == "amp-fp16":
        job = bert_large(length, batch, "bf16")
        return replace(job, graph=recast(job, precision_named("amp-fp16"))[0])
    job = bert_large(length, batch, precision)
    if not name.endswith("-gradients"):
        return job
    ops = tuple(op for op in job.graph.ops if op.phase != "optimizer")
    return replace(job, graph=replace(job.graph, ops=ops, storages=()))


def load_step_rows(measurements: Path) -> list[StepRow]:
    """Return the published step times whose GPU has a device file with the matrix units the row speaks of."""
    sources = (_lambda, _nvidia, _timm, _hugging_face, _neusight)
    found = [row for source in sources for row in source(measurements)]
    return [r for r in found if r.math.matrix_format in r.device.flops_per_s and (r.gpu, r.job) not in BROKEN]


def _read(measurements: Path, name: str) -> pd.DataFrame:
    import pandas as pd

    frame: pd.DataFrame = pd.read_csv(measurements / name, low_memory=False)
    return frame[(frame.gpu_count == 1)]


def _row(source: str, record: Any, job: str, layout: str, software: str, seconds: float, calibrates: bool) -> Any:
    device = device_of(record.gpu)
    if device is None:
        return None
    batch = int(record.batch_per_gpu)
    return StepRow(source, record.gpu, device, job, record.precision, layout, batch, software, seconds, calibrates)


def _lambda(measurements: Path) -> Iterator[StepRow]:
    """Lambda's runs of NVIDIA's examples; medians over repeats. Pure float16 is no precision of ours and left out."""
    jobs = {"nv:resnet50_v1.5": ("resnet50", "nchw"), "nv:bert_large_squad": (f"bert-large-{SQUAD_TOKENS}", "")}
    frame = _read(measurements, "lambda_dedup.csv.gz")
    for record in frame[frame.model.isin(jobs) & frame.precision.isin(("fp32", "tf32", "amp-fp16"))].itertuples():
        job, layout = jobs[record.model]
        major, minor = (int(part) for part in record.framework_version.split(".")[:2])
        generation = GENERATIONS[((major, minor) > (1, 4)) + ((major, minor) > (1, 10))]
        seconds = record.batch_per_gpu / record.throughput_median
        row = _row("Lambda", record, job, layout, generation, seconds, True)
        if row is not None:
            yield row


def _nvidia(measurements: Path) -> Iterator[StepRow]:
    """NVIDIA's own tables of the same examples: real data through DALI, containers of 2020 to 2022."""
    jobs = {"nv-dle:PyTorch/ConvNets/resnet50v1.5": "resnet50", "nv-dle:PyTorch/BERT": f"bert-large-{SQUAD_TOKENS}"}
    layouts = {"nchw": "nchw", "nhwc": "channels_last"}
    frame = _read(measurements, "published.csv.gz")
    kept = frame[frame.model.isin(jobs) & frame.step_ms.notna() & (frame.task == "train")]
    for record in kept.itertuples():
        layout = layouts.get(record.layout, "")
        row = _row("NVIDIA", record, jobs[record.model], layout, GENERATIONS[1], record.step_ms / 1e3, True)
        if row is not None:
            yield row


def _timm(measurements: Path) -> Iterator[StepRow]:
    """Timm's training benchmark of ResNet-50 on an RTX 3090."""
    return _timm_rows(measurements, {"resnet50"}, {"resnet50"})


def load_timm_rows(measurements: Path) -> list[StepRow]:
    """Return timm's training benchmarks of models drawn at random: half to fit to, half to be predicted only.

    Raises:
        MissingExtraError: If timm is not installed.
    """
    frame = _read(measurements, "timm.csv.gz")
    names = sorted({str(m).removeprefix("timm:") for m in frame.model[frame.task == "train"]} & timm_names())
    drawn = Random(TIMM_SEED).sample([name for name in names if name != "resnet50"], 2 * TIMM_MODELS)
    return list(_timm_rows(measurements, set(drawn), set(drawn[:TIMM_MODELS])))


def _timm_rows(measurements: Path, names: set[str], fitted: set[str]) -> Iterator[StepRow]:
    """AMP on an RTX 3090 with torch 1.12: a fixed batch on the GPU, no gradient scaler."""
    layouts = {"nchw": "nchw", "nhwc": "channels_last"}
    frame = _read(measurements, "timm.csv.gz")
    kept = frame[(frame.task == "train") & (frame.compiled == 0) & (frame.framework_version == "1.12")]
    for record in kept.itertuples():
        name = str(record.model).removeprefix("timm:")
        if name not in names:
            continue
        job = name if name == "resnet50" else f"timm:{name}:{record.input_shape}"
        row = _row("timm", record, job, layouts[record.layout], NEWEST, record.step_ms / 1e3, name in fitted)
        if row is not None:
            yield row


def _hugging_face(measurements: Path) -> Iterator[StepRow]:
    """Hugging Face's table of fitting BERT large on a V100: 512 tokens, native AMP, AdamW, one batch a step."""
    frame = _read(measurements, "published.csv.gz")
    plain = frame.notes.astype(str).str.contains("grad_accum=1; grad_ckpt=0") & (frame.optimizer == "adamw")
    for record in frame[(frame.source == "hf-docs") & plain & frame.model.str.contains("bert-large")].itertuples():
        row = _row("Hugging Face", record, "bert-large-512", "", NEWEST, record.step_ms / 1e3, False)
        if row is not None:
            yield row


def _neusight(measurements: Path) -> Iterator[StepRow]:
    """NeuSight's float32 steps of BERT large at 512 tokens: forward and backward, no update."""
    frame = _read(measurements, "neusight_models.csv.gz")
    for record in frame[(frame.model == "hf:bert_large") & (frame.task == "train")].itertuples():
        row = _row("NeuSight", record, "bert-large-512-gradients", "", NEWEST, record.step_ms / 1e3, False)
        if row is not None:
            yield row
