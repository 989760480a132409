"""Plots of predicted against measured times, as small SVG files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from whichgpu.units import MILLI
from whichgpu.validation.predict import Prediction

# More points make no plot clearer, and the file larger.
MOST_POINTS = 700
_SIZE_INCHES = (5.2, 4.6)
# Beyond so many, GPUs share a colour.
_COLOURS = 10


def plot(predictions: Sequence[Prediction], title: str, path: Path) -> None:
    """Write a plot of predicted over measured time to `path`: a colour a GPU, a dot a measurement, 20 % either way."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    # The same data give the same file; text stays text.
    mpl.rcParams.update({"svg.hashsalt": "whichgpu", "svg.fonttype": "none", "path.simplify": True})
    figure, axes = pyplot.subplots(figsize=_SIZE_INCHES, layout="constrained")
    shown = _thinned(predictions)
    by_gpu: defaultdict[str, list[Prediction]] = defaultdict(list)
    for prediction in shown:
        by_gpu[prediction.case.row.gpu].append(prediction)
    for number, (gpu, some) in enumerate(sorted(by_gpu.items(), key=lambda item: (-len(item[1]), item[0]))):
        label = gpu if number < _COLOURS else None
        x, y = ([value / MILLI for value in values] for values in _times(some))
        axes.plot(x, y, ".", markersize=3.5, color=f"C{min(number, _COLOURS) % 10}", label=label, markeredgewidth=0)
    low, high = _ends(shown)
    for factor, style in ((1.0, "-"), (1.2, ":"), (1 / 1.2, ":")):
        axes.plot([low, high], [low * factor, high * factor], style, color="0.5", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
    axes.set(xlabel="measured, ms", ylabel="predicted, ms", title=title)
    axes.grid(color="0.92", linewidth=0.6)
    axes.legend(fontsize=6.5, frameon=False, loc="upper left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def _thinned(predictions: Sequence[Prediction]) -> list[Prediction]:
    if len(predictions) <= MOST_POINTS:
        return list(predictions)
    return Random(0).sample(list(predictions), MOST_POINTS)


def _times(predictions: Sequence[Prediction]) -> tuple[list[float], list[float]]:
    return [p.case.measured_s for p in predictions], [p.predicted_s for p in predictions]


def _ends(predictions: Sequence[Prediction]) -> tuple[Any, Any]:
    both = [value / MILLI for values in _times(predictions) for value in values]
    return min(both) / 1.3, max(both) * 1.3
