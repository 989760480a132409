"""The bars predictions are held against, each with the measurements it speaks of and what is left out of the fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from whichgpu.validation.predict import Prediction
from whichgpu.validation.score import by_group, score

# What the coefficients have not seen: the row's GPU, its kind of model, or either: of timm's runs on the RTX 3090 their
# kind, of all others the GPU.
Fold = Literal["gpu", "family", "either"]
Held = Mapping[Fold, Sequence[Prediction]]
# timm's smallest nets, whose kernels are over before the next is started. GMACs an image stand in timm's rows.
_SMALLEST_GMACS = 0.06


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        name: What it speaks of.
        must: What must be reached.
        goal: What is hoped for.
        fold: What was left out of the fit.
        selects: Which predictions it is about.
        reached: From those predictions to the figure.
        highest: Whether the figure must not be above the bar; else not below.
    """

    name: str
    must: float
    goal: float
    fold: Fold
    selects: Callable[[Prediction], bool]
    reached: Callable[[Sequence[Prediction]], float]
    highest: bool = True


@dataclass(frozen=True)
class Reached:
    """A bar and what is reached; None where nothing of it was predicted."""

    bar: Bar
    figure: float | None
    count: int

    @property
    def verdict(self) -> str:
        """In a word, whether goal or bar are reached."""
        if self.figure is None:
            return "not measured"
        for limit, word in ((self.bar.goal, "goal"), (self.bar.must, "pass")):
            if (self.figure <= limit) if self.bar.highest else (self.figure >= limit):
                return word
        return "**miss**"


def reached(held: Held) -> list[Reached]:
    """Return what is reached of every bar."""
    found = []
    for bar in BARS:
        some = [p for p in held[bar.fold] if bar.selects(p)]
        found.append(Reached(bar, bar.reached(some) if some else None, len(some)))
    return found


def either(by_gpu: Sequence[Prediction], by_family: Sequence[Prediction]) -> list[Prediction]:
    """Return the predictions of the fold "either".

    Without the RTX 3090 no training with channels innermost is left, nor with three releases of torch: what that fold
    gets wrong there says nothing of GPUs.
    """
    kind = [p for p in by_family if _is_main_of_timm(p)]
    return kind + [p for p in by_gpu if not _is_main_of_timm(p)]


def _is_main_of_timm(p: Prediction) -> bool:
    return (p.case.row.source, p.case.row.gpu) == ("timm", "RTX 3090")


def mean_error(predictions: Sequence[Prediction]) -> float:
    """Return the mean of |predicted / measured - 1|."""
    return score(predictions).mean_error


def pair_order(predictions: Sequence[Prediction]) -> float:
    """Return the share of pairs predicted in order."""
    return score(predictions).pairs.share or 0.0


def mean_coverage(predictions: Sequence[Prediction]) -> float:
    """Return the coverage of the 80 % interval, the mean over GPUs."""
    found = _coverages(predictions)
    return sum(found) / len(found)


def worst_coverage(predictions: Sequence[Prediction]) -> float:
    """Return the coverage of the GPU that has the lowest."""
    return min(_coverages(predictions))


def _coverages(predictions: Sequence[Prediction]) -> list[float]:
    return [score(some).coverage for _, some in by_group(predictions, lambda p: (p.case.device.name,))]


def _neusight(task: str) -> Callable[[Prediction], bool]:
    def selects(p: Prediction) -> bool:
        row = p.case.row
        return (
            row.source == "neusight" and row.task == task and p.case.device.vendor == "NVIDIA" and not p.case.compiled
        )

    return selects


def _kernel(kind: str) -> Callable[[Prediction], bool]:
    return lambda p: p.case.job is None and p.case.name == kind and p.case.row.gpu == "A100 PCIe 80GB"


def _timm(gpu: str, task: str, layout: str, *, compiled: bool = False) -> Callable[[Prediction], bool]:
    def selects(p: Prediction) -> bool:
        row = p.case.row
        return (row.source, row.gpu, row.task, row.layout, p.case.compiled) == ("timm", gpu, task, layout, compiled)

    return selects


def _lambda(*precisions: str) -> Callable[[Prediction], bool]:
    return lambda p: p.case.row.source == "lambda" and p.case.row.precision in precisions


def _on_cpu(p: Prediction) -> bool:
    return p.case.row.source == "timm" and p.case.row.gpu == "CPU Core i9-10940X"


def _is_launch_bound(p: Prediction) -> bool:
    row = p.case.row
    if row.source != "timm" or p.case.device.is_cpu:
        return False
    gmacs = re.search(r"gmacs=([\d.]+)", row.notes)
    return p.case.batch == 1 or (gmacs is not None and float(gmacs[1]) <= _SMALLEST_GMACS)


def _is_step(p: Prediction) -> bool:
    return p.case.job is not None and not p.case.device.is_cpu


BARS = (
    Bar("NeuSight's NVIDIA model rows, training (NeuSight: 7.3 %)", 0.07, 0.04, "gpu", _neusight("train"), mean_error),
    Bar("NeuSight's NVIDIA model rows, inference (NeuSight: 9.7 %)", 0.09, 0.05, "gpu", _neusight("infer"), mean_error),
    Bar("NeuSight kernels, A100 80GB: linear (NeuSight: 14 %)", 0.10, 0.06, "gpu", _kernel("linear"), mean_error),
    Bar("NeuSight kernels, A100 80GB: bmm (NeuSight: 14 %)", 0.12, 0.06, "gpu", _kernel("bmm"), mean_error),
    Bar("timm inference AMP, RTX 3090, NCHW", 0.08, 0.05, "family", _timm("RTX 3090", "infer", "nchw"), mean_error),
    Bar("timm inference AMP, RTX 3090, NHWC", 0.10, 0.06, "family", _timm("RTX 3090", "infer", "nhwc"), mean_error),
    Bar("timm inference AMP, RTX 4090, NCHW", 0.10, 0.06, "gpu", _timm("RTX 4090", "infer", "nchw"), mean_error),
    Bar(
        "timm inference AMP, RTX 4090, compiled",
        0.14,
        0.08,
        "gpu",
        _timm("RTX 4090", "infer", "nchw", compiled=True),
        mean_error,
    ),
    Bar("timm training AMP, RTX 3090, NCHW", 0.10, 0.06, "family", _timm("RTX 3090", "train", "nchw"), mean_error),
    Bar("timm training AMP, RTX 3090, NHWC", 0.12, 0.07, "family", _timm("RTX 3090", "train", "nhwc"), mean_error),
    Bar("Lambda training, one GPU, AMP", 0.10, 0.06, "gpu", _lambda("amp-fp16", "fp16"), mean_error),
    Bar("Lambda training, one GPU, TF32 and FP32", 0.10, 0.06, "gpu", _lambda("tf32", "fp32"), mean_error),
    Bar("timm inference CPU, i9-10940X", 0.20, 0.10, "family", _on_cpu, mean_error),
    Bar("launch-bound: timm's nets up to 0.06 GMACs, batch 1", 0.20, 0.10, "family", _is_launch_bound, mean_error),
    Bar("pair order, times more than 10 % apart", 0.97, 0.995, "either", _is_step, pair_order, highest=False),
    Bar("coverage of the 80 % interval, mean over GPUs", 0.75, 0.78, "gpu", _is_step, mean_coverage, highest=False),
    Bar("coverage of the 80 % interval, worst GPU", 0.50, 0.65, "gpu", _is_step, worst_coverage, highest=False),
)
