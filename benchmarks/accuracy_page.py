"""The generated sections of docs/accuracy.md, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date

from benchmarks.bars import Fold, Reached
from benchmarks.held_out import Predictions
from benchmarks.sections import table
from whichgpu.units import duration
from whichgpu.validation.predict import Prediction
from whichgpu.validation.score import Score, by_group, device_pairs, score, worst

_HEADS = ["n", "mean error", "median", "bias", "90 % within", "in 80 % interval", "pairs right"]
_NEVER_SEEN: dict[Fold, str] = {
    "gpu": "the GPU",
    "family": "its kind of model",
    "either": "its kind of model (timm on the RTX 3090) or the GPU",
}
# Measurements of a GPU or kind of job fewer than this are told apart from others nowhere.
_FEWEST = 3
WORST = 20

Key = Callable[[Prediction], tuple[object, ...]]


def bars_section(found: Sequence[Reached]) -> str:
    """Return the table of bars: what is asked, what is reached."""
    rows = [
        [
            r.bar.name,
            _NEVER_SEEN[r.bar.fold],
            f"{r.count:,}",
            f"{r.bar.must:.0%}",
            f"{r.bar.goal:.1%}" if r.bar.goal > 0.99 else f"{r.bar.goal:.0%}",
            "–" if r.figure is None else f"{r.figure:.1%}",
            r.verdict,
        ]
        for r in found
    ]
    missed = sum(r.verdict == "**miss**" for r in found)
    text = (
        f"{_written()} Mean absolute percentage error of measurements predicted by coefficients that have not seen "
        f"what the second column says; {missed} of {len(found)} bars are missed."
    )
    heads = ["set", "never seen", "n", "must", "goal", "reached", ""]
    return f"{text}\n\n{table(heads, rows, text_columns=2)}"


def steps_section(found: Predictions, plots: Sequence[tuple[str, str]]) -> str:
    """Return the section on step times: by source with plots, by GPU.

    Args:
        found: The predictions.
        plots: Of each plot its title and its path from the page.
    """
    unseen = [p for p in found.held["gpu"] if p.case.job is not None]
    devices = device_pairs(unseen)
    ranked = ""
    if devices.share is not None:
        pairs = f"{devices.share:.1%} of {devices.count:,} pairs"
        ranked = f" Of two GPUs that ran the same job the faster is named in {pairs}."
    pictures = "\n".join(f"![{title}]({path})" for title, path in plots)
    return "\n\n".join(
        [
            f"{_written()} {len(unseen):,} step times on {len({p.case.device.name for p in unseen})} GPUs, each "
            "predicted by coefficients fitted without any measurement of its GPU. No fit knows compiled steps. "
            f"Errors, bias and pairs are those of `whichgpu validate` (docs/validation.md).{ranked}",
            _table("source, task, precision, layout", unseen, _by_source),
            "The same by the shipped coefficients, which have seen the GPUs and the models:",
            _table("source, task, precision, layout", [p for p in found.shipped if p.case.job is not None], _by_source),
            pictures,
            "### By GPU",
            _table("GPU", unseen, lambda p: (p.case.device.name,)),
            "### By release of PyTorch",
            _table("PyTorch", unseen, lambda p: (".".join(map(str, p.case.torch or ("not said",))),)),
            f"### The {WORST} farthest off",
            _worst(unseen),
        ]
    )


def kernels_section(found: Predictions) -> str:
    """Return the section on kernels: by GPU and operation, the GPU unseen."""
    kernels = [p for p in found.held["gpu"] if p.case.job is None]
    kinds = sorted({p.case.name for p in kernels})
    rows = []
    for (gpu,), some in by_group(kernels, lambda p: (p.case.row.gpu,)):
        rows.append([str(gpu), *(_cell([p for p in some if p.case.name == kind]) for kind in kinds)])
    rows.append(["all", *(_cell([p for p in kernels if p.case.name == kind]) for kind in kinds)])
    return (
        f"{_written()} {len(kernels):,} float32 kernels of NeuSight (ASPLOS 2025), drawn at random, forward, TF32 off, "
        "longer than 0.1 ms, predicted by coefficients fitted without any measurement of that GPU: mean absolute "
        "error, in brackets the bias. The call from Python around each is fitted, as it is not the product's.\n\n"
        + table(["GPU", *kinds], rows)
    )


def _table(head: str, predictions: Iterable[Prediction], key: Key) -> str:
    groups = [(key_, some) for key_, some in by_group(predictions, key) if len(some) >= _FEWEST]
    rows = [[" ".join(str(part) for part in key_ if part), *_cells(score(some))] for key_, some in groups]
    return table([head, *_HEADS], rows)


def _cells(found: Score) -> list[str]:
    return [
        f"{found.count:,}",
        f"{found.mean_error:.1%}",
        f"{found.median_error:.1%}",
        f"{found.bias:+.1%}",
        f"{found.error_90:.0%}",
        f"{found.coverage:.0%}",
        "–" if found.pairs.share is None else f"{found.pairs.share:.1%}",
    ]


def _cell(some: Sequence[Prediction]) -> str:
    if not some:
        return "–"
    found = score(some)
    return f"{found.mean_error:.1%} ({found.bias:+.1%})"


def _worst(predictions: Sequence[Prediction]) -> str:
    rows = []
    for p in worst(predictions, WORST):
        case, row = p.case, p.case.row
        how = " ".join(
            part for part in (row.task, row.precision, row.layout, "compiled" if case.compiled else "") if part
        )
        version = ".".join(map(str, case.torch)) if case.torch else "–"
        times = [duration(case.measured_s), duration(p.predicted_s), f"{p.ratio - 1:+.0%}"]
        rows.append([row.gpu, row.model, how, version, f"{case.batch:,}", *times])
    heads = ["GPU", "job", "how", "PyTorch", "batch", "measured", "predicted", "error"]
    return table(heads, rows, text_columns=4)


def _by_source(p: Prediction) -> tuple[object, ...]:
    row = p.case.row
    return (row.source, row.task, row.precision, row.layout, "compiled" if p.case.compiled else "")


def _written() -> str:
    return f"Written by `make accuracy` on {date.today().isoformat()}."
