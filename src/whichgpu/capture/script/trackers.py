"""Experiment trackers: no pass may report a run to anybody.

Where a tracker can be told to do nothing, it is told so; where it cannot, or not for sure, nothing stands in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any

from whichgpu.capture.patches import Patches
from whichgpu.capture.script import when_imported

# What the environment of a pass says to each of them.
OFFLINE = {
    "WANDB_MODE": "disabled",
    "WANDB_SILENT": "true",
    "COMET_LOGGING_CONSOLE": "CRITICAL",
    "NEPTUNE_MODE": "debug",
    "DISABLE_MLFLOW_INTEGRATION": "TRUE",
    "CLEARML_OFFLINE_MODE": "1",
}
# Functions of MLflow that hand a function on.
_DECORATORS = frozenset({"trace"})
# Names of the trackers that this process asked for something: a package that is only imported would have sent nothing.
_asked: set[str] = set()


def note_trackers() -> list[str]:
    """Return a sentence for every tracker the script has used."""
    return [f"{name} was switched off." for name in sorted(_asked)]


def install(patches: Patches) -> None:
    """Switch trackers off when they are imported, also where the script itself would switch them on."""
    actions: dict[str, Callable[[ModuleType], None]] = {
        "wandb": lambda module: _in_mode(patches, module, "Weights & Biases", "init", "disabled"),
        "neptune": lambda module: _in_mode(patches, module, "Neptune", "init_run", "debug"),
        "comet_ml": lambda module: _empty(
            patches, module, "Comet", [n for n in vars(module) if n.endswith("Experiment")]
        ),
    }
    for name in ("mlflow", "mlflow.pytorch", "mlflow.transformers", "mlflow.tracking"):
        actions[name] = lambda module: _empty(patches, module, "MLflow", ["MlflowClient"])
    when_imported.install(patches, actions)


def _in_mode(patches: Patches, module: ModuleType, tracker: str, name: str, mode: str) -> None:
    """Let a function start a tracker's runs in `mode`, whichever it is called with."""
    plain = getattr(module, name, None)
    if plain is None:
        # Another module of this name, the script's own.
        return

    def start(*args: Any, **kwargs: Any) -> Any:
        _asked.add(tracker)
        return plain(*args, **{**kwargs, "mode": mode})

    patches.set(module, name, start)
    if hasattr(module, "login"):
        patches.set(module, "login", lambda *args, **kwargs: True)


def _empty(patches: Patches, module: ModuleType, tracker: str, classes: list[str]) -> None:
    """Put nothing in the place of the functions of a tracker's module, and of those of its classes that report."""

    def nothing(*args: Any, **kwargs: Any) -> Nothing:
        _asked.add(tracker)
        return Nothing()

    class NothingOfIt(Nothing):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            _asked.add(tracker)

    for name, value in list(vars(module).items()):
        is_function = type(value) is FunctionType and not name.startswith("_") and name not in _DECORATORS
        if is_function or name in classes:
            patches.set(module, name, NothingOfIt if name in classes else nothing)


class Nothing:
    """A run, an experiment, a client: it takes everything, and all it gives is of its kind."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> Nothing:
        """Return itself, whatever it was asked to do."""
        return self

    def __getattr__(self, name: str) -> Nothing:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, key: Any) -> Nothing:
        return self

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        # A run is there, however little it holds.
        return True

    def __enter__(self) -> Nothing:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __str__(self) -> str:
        return "switched-off"

    def __fspath__(self) -> str:
        return str(self)
