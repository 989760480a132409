"""How right predictions are: ``python -m benchmarks.accuracy`` writes sections of docs/accuracy.md and its plots.

Needs ``../shared/measurements`` and captured jobs (``python -m benchmarks.capture_traces``); what is not captured is
left out. Some minutes on two cores.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.accuracy_page import bars_section, kernels_section, steps_section
from benchmarks.bars import reached
from benchmarks.calibrate import say
from benchmarks.held_out import Predictions, predict_published
from benchmarks.plots import plot
from benchmarks.sections import replace_section
from whichgpu.devices.cpu_reading import usable_cpus
from whichgpu.validation.predict import Prediction

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "accuracy.md"
_PLOTS = DOCS / "accuracy"
_TITLES = {
    "timm": "timm's models",
    "lambda": "Lambda, training",
    "nvidia-dle": "NVIDIA's examples, training",
    "neusight": "NeuSight's models",
    "neusight-kernels": "NeuSight's kernels",
}


def main() -> None:
    """Predict everything that was published, and write what came out."""
    found = predict_published(len(usable_cpus()), say)
    bars = reached(found.held)
    for one in bars:
        figure = "–" if one.figure is None else f"{one.figure:.1%}"
        say(f"  {one.bar.name}: {figure} of {one.count} ({one.verdict.strip('*')})")
    replace_section(PAGE, "bars", bars_section(bars))
    replace_section(PAGE, "steps", steps_section(found, _plots(found)))
    replace_section(PAGE, "kernels", kernels_section(found))
    say(f"wrote {PAGE} and {_PLOTS}")


def _plots(found: Predictions) -> list[tuple[str, str]]:
    """Write one plot a source, each GPU unseen; return their titles and paths from the page."""
    by_source: dict[str, list[Prediction]] = {}
    for prediction in found.held["gpu"]:
        by_source.setdefault(prediction.case.row.source, []).append(prediction)
    written = []
    for source, some in sorted(by_source.items()):
        title = f"{_TITLES.get(source, source)}, GPU never seen"
        path = _PLOTS / f"{source}.svg"
        plot(some, title, path)
        written.append((title, f"{_PLOTS.name}/{path.name}"))
    return written


if __name__ == "__main__":
    main()
