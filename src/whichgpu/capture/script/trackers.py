"""Experiment trackers: no pass may report a run to anybody."""

from __future__ import annotations

import sys

# What the environment of a pass says to each of them.
OFFLINE = {
    "WANDB_MODE": "disabled",
    "WANDB_SILENT": "true",
    "COMET_MODE": "DISABLED",
    "COMET_LOGGING_CONSOLE": "CRITICAL",
    "NEPTUNE_MODE": "debug",
    "DISABLE_MLFLOW_INTEGRATION": "TRUE",
    "CLEARML_OFFLINE_MODE": "1",
    "AIM_TRACKING_DISABLED": "1",
}
_NAMES = {"wandb": "Weights & Biases", "comet_ml": "Comet", "mlflow": "MLflow", "neptune": "Neptune"}


def note_trackers() -> list[str]:
    """Return a sentence for every tracker the script has imported."""
    return [f"{name} was switched off." for module, name in _NAMES.items() if module in sys.modules]
