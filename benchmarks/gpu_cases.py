"""What is checked on a real GPU: built-in jobs and example scripts, each with what is predicted and what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
_LONGEST_ERROR = 400


def error_text(error: Exception) -> str:
    """Return an error as one line that says nothing of where the repository lay."""
    text = f"{type(error).__name__}: {error}".replace(f"{ROOT}/", "")
    return " ".join(text.split())[:_LONGEST_ERROR]


@dataclass(frozen=True)
class JobCase:
    """A built-in job as it is checked."""

    job: str
    batch: int
    precision: str
    layout: str = ""

    @property
    def name(self) -> str:
        """One line for people."""
        return ", ".join(filter(None, (self.job, f"batch {self.batch}", self.precision, self.layout)))


@dataclass(frozen=True)
class ScriptCase:
    """An example script as it is checked.

    Attributes:
        script: Its name in examples/.
        arguments: What it is called with.
    """

    script: str
    arguments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """One line for people."""
        return " ".join((self.script, *self.arguments))


Case: TypeAlias = JobCase | ScriptCase

# The most telling first: on a borrowed GPU time may end before they do.
CASES: tuple[Case, ...] = (
    JobCase("resnet50", 32, "amp-fp16", "channels_last"),
    JobCase("gpt2", 2, "amp-fp16"),
    JobCase("mnist", 64, "fp32", "nchw"),
    JobCase("bert-base", 8, "amp-bf16"),
    ScriptCase("train_mnist.py", ("--epochs", "1")),
    ScriptCase("nanogpt_style.py", ("--no-compile", "--max-iters", "200", "--eval-interval", "1000")),
    JobCase("resnet50", 32, "amp-fp16", "nchw"),
    JobCase("vit-b16", 16, "bf16"),
    JobCase("gpt2", 2, "fp32"),
    JobCase("lstm", 32, "fp32"),
    ScriptCase("finetune_gpt2_hf.py", ("--bf16",)),
    ScriptCase("gan.py", ("--epochs", "1")),
    ScriptCase("resnet_lightning.py", ("--epochs", "1", "--workers", "0")),
    JobCase("unet-sd15", 1, "amp-fp16"),
    JobCase("resnet50", 256, "amp-fp16", "channels_last"),
)


@dataclass(frozen=True)
class Prediction:
    """What is predicted of a case before anything runs.

    Attributes:
        name: Of the case.
        ops: Names of the ops of one step, in order.
        launches: Kernels it launches.
        step_s: Its time; None if no device file has this GPU.
        low_s: Low end of the interval.
        high_s: High end.
        allocated_bytes: Peak of allocated memory; None if not predicted.
        reserved_bytes: Peak of memory the allocator holds.
        device_bytes: What the process takes, as nvidia-smi shows it.
        source: Where the graph came from.
        error: Why there is no prediction.
    """

    name: str
    ops: tuple[str, ...] = ()
    launches: int = 0
    step_s: float | None = None
    low_s: float | None = None
    high_s: float | None = None
    allocated_bytes: int | None = None
    reserved_bytes: int | None = None
    device_bytes: int | None = None
    source: str = ""
    error: str = ""


@dataclass(frozen=True)
class Found:
    """What a case did on the GPU.

    Attributes:
        name: Of the case.
        ops: Names of the ops torch dispatched in one step; empty for scripts.
        kernels: Kernels by name: how often one step launches each, and microseconds of all calls together; empty where
            the profiler does not work, and for scripts.
        step_s: Median step time.
        host_s: Least time until the host had issued a step.
        steps: Steps timed.
        allocated_bytes: Peak of allocated memory over a step.
        reserved_bytes: Peak of memory the allocator held.
        device_bytes: What the process took of the device; None if not told.
        error: Why it did not run.
    """

    name: str
    ops: tuple[str, ...] = ()
    kernels: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    step_s: float | None = None
    host_s: float | None = None
    steps: int = 0
    allocated_bytes: int | None = None
    reserved_bytes: int | None = None
    device_bytes: int | None = None
    error: str = ""

    @property
    def launches(self) -> int | None:
        """Kernels one step launched; None if they were not counted."""
        return sum(calls for calls, _ in self.kernels.values()) or None


def to_form(row: Prediction | Found) -> dict[str, Any]:
    """Return a row as JSON has it."""
    return asdict(row)


def prediction_from_form(form: dict[str, Any]) -> Prediction:
    """Return the prediction of its JSON form."""
    return Prediction(**form | {"ops": tuple(form["ops"])})


def found_from_form(form: dict[str, Any]) -> Found:
    """Return what was found of its JSON form."""
    kernels = {name: (int(calls), float(us)) for name, (calls, us) in form["kernels"].items()}
    return Found(**form | {"ops": tuple(form["ops"]), "kernels": kernels})
