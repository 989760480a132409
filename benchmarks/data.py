"""What is fitted to: published step times and kernels as `Measured` rows, from files and kept traces."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from random import Random

from benchmarks.gemm_rates import load_gemm_rates
from benchmarks.measured import Measured
from benchmarks.parameters import Parameter
from whichgpu.cost.kernel_table import KernelTable
from whichgpu.errors import CaptureError
from whichgpu.validation import Case, Traces, load_rows
from whichgpu.validation.tables import kernel_table

FILES = ("lambda_dedup.csv.gz", "published.csv.gz", "neusight_models.csv.gz", "timm.csv.gz")
KERNELS = "neusight_kernels.csv.gz"
# Kernels of each operation on each GPU; more change no coefficient by a per cent.
KERNELS_PER_OP = 60
# The timings include starting the kernel from Python; below this the start is all they show.
SHORTEST_KERNEL_S = 1e-4
# All kernels of one kind on one GPU together weigh as much as this many steps; a rate of large products.
KERNEL_WEIGHTS = {"linear": 10.0, "bmm": 10.0, "softmax": 3.0, "layernorm": 3.0, "conv": 2.0}
ELEMENTWISE_WEIGHT = 1.0
PRODUCT_WEIGHT = 4.0
# Many models on one GPU: each tells less than the same model on many. Inference says less of training.
WEIGHTS = {("timm", "train"): 0.25, ("timm", "infer"): 0.25, ("neusight", "train"): 3.0, ("neusight", "infer"): 2.0}
# Runs ten times slower than any board of their class: something else was measured.
BROKEN = {("RTX A4000", "nv:bert_large_squad")}

Tabulate = Callable[[Case, Traces], KernelTable]


def family_of(model: str) -> str:
    """Return what a model is a kind of, for folds: its name up to the first digit or underscore."""
    name = model.rpartition(":")[2]
    for maker in ("tf_", "gluon_", "legacy_", "test_", "ig_", "swsl_", "ssl_"):
        name = name.removeprefix(maker)
    return re.split(r"[\d_]", name)[0]


def load_steps(
    measurements: Path, traces: Traces, keep: Callable[[Case], bool], tabulate: Tabulate = kernel_table
) -> Iterator[Measured]:
    """Yield the published step times of GPUs whose job has been captured and that `keep` says yes to."""
    for case in load_rows([measurements / name for name in FILES]):
        if not isinstance(case, Case) or not is_step_of_gpu(case) or not keep(case):
            continue
        try:
            table = tabulate(case, traces)
        except CaptureError:
            continue
        yield _step(case, table)


def is_step_of_gpu(case: Case) -> bool:
    """Return whether a case is a step on a GPU with units for its precision, and not known to be of something else."""
    if case.job is None or case.device.is_cpu or (case.row.gpu, case.name) in BROKEN:
        return False
    return case.precision.matrix_format in case.device.flops_per_s


def _step(case: Case, table: KernelTable) -> Measured:
    source = case.row.source
    extra = None
    if "bert" in case.name and source in ("lambda", "nvidia-dle"):
        kind = "fp16" if case.precision.autocast else "fp32"
        extra = Parameter(f"extra_s.bert.{kind}", 0.01 if kind == "fp16" else 0.04, 0.4)
    machine = f"host.{source} {case.device.short_name}" if source == "timm" else f"host.{source}"
    return Measured(
        source=source,
        device=case.device,
        job=case.name,
        family=family_of(case.name),
        task=case.row.task,
        precision=case.precision,
        layout=case.row.layout,
        software="" if case.torch is None else ".".join(map(str, case.torch)),
        table=table,
        seconds=case.measured_s,
        weight=WEIGHTS.get((source, case.row.task), 1.0),
        extra=extra,
        host=Parameter(machine, 1.0, 0.4),
        compiled=case.compiled,
        case=case,
    )


def load_kernels(measurements: Path, per_op: int = KERNELS_PER_OP, seed: int = 0) -> list[Measured]:
    """Return NeuSight's kernels that ran long enough, as many of each operation on each GPU."""
    found: dict[tuple[str, str], list[Case]] = {}
    for case in load_rows([measurements / KERNELS]):
        if isinstance(case, Case) and case.job is None and case.measured_s > SHORTEST_KERNEL_S:
            found.setdefault((case.device.name, case.row.model), []).append(case)
    rows = []
    for name in sorted(found):
        cases = found[name]
        drawn = Random(seed).sample(cases, min(len(cases), per_op))
        rows += [_kernel(case, len(drawn)) for case in drawn]
    return rows


def _kernel(case: Case, among: int) -> Measured:
    from whichgpu.work import count_op

    call = Parameter(f"call_s.{case.device.name}", 4e-5, 0.5)
    return Measured(
        source="neusight kernels",
        device=case.device,
        job=case.name,
        family=case.name,
        task="kernel",
        precision=case.precision,
        layout="",
        software="",
        table=KernelTable.of_kernels((k, 1) for k in count_op(case.op).kernels),
        seconds=case.measured_s,
        weight=KERNEL_WEIGHTS.get(case.name, ELEMENTWISE_WEIGHT) / among,
        extra=call,
        case=case,
    )


def load_products() -> Iterator[Measured]:
    """Yield rates of large products that others measured."""
    for rate in load_gemm_rates():
        yield Measured(
            source="rates of products",
            device=rate.device,
            job=rate.number_format,
            family="product",
            task="kernel",
            precision=rate.math,
            layout="",
            software="",
            table=rate.table,
            seconds=rate.seconds,
            weight=PRODUCT_WEIGHT,
        )


def counted(rows: Sequence[Measured]) -> Iterable[tuple[str, int]]:
    """Return how many rows each source has."""
    return sorted(Counter(r.source for r in rows).items())
