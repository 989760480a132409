"""whichgpu: would a GPU help my training job, which one, how long, how much money, and why.

The way through, each step a function of its own::

    job = whichgpu.workload("resnet50", batch=128)       # a built-in job, or
    with whichgpu.phantom_gpu():                         # a job of your own, captured with no GPU at hand
        step = make_training_step(device="cuda")
        job = whichgpu.capture(step, name="mine", samples_per_step=128, samples_per_epoch=50_000)

    whichgpu.estimate(job, "RTX 4090").step_s            # seconds of one optimizer step
    whichgpu.compare(job, ["T4", "H100 SXM"], epochs=90) # many devices, with money; a table in a notebook

Quantities are SI and carry their unit in their name: `_s`, `_bytes`, `_flops_per_s`, `_usd`. Importing this brings no
framework and not even NumPy. What was really trained on this machine comes from `whichgpu.measure` and goes into
`compare`::

    from whichgpu.measure import measure
    from whichgpu.workloads import definition

    whichgpu.compare(job, measurements=[measure(definition("resnet50"), batch=128)])

`capture`, `devices` and `estimate` are functions here although packages bear the same names: write
``from whichgpu.devices.loader import ...``, never ``whichgpu.devices.loader``.
"""

from importlib import import_module
from typing import Any

from whichgpu.capture import capture, phantom_gpu
from whichgpu.comparison import Comparison, compare
from whichgpu.devices import devices
from whichgpu.devices.device import Device
from whichgpu.errors import WhichGpuError
from whichgpu.estimate import estimate
from whichgpu.estimate.estimate import Estimate
from whichgpu.graph import Graph, Job, check
from whichgpu.workloads import workload, workload_names

__version__ = "0.1.0"

__all__ = [
    "Comparison",
    "Device",
    "Estimate",
    "Graph",
    "Job",
    "WhichGpuError",
    "__version__",
    "capture",
    "check",
    "compare",
    "devices",
    "estimate",
    "install",
    "load_ipython_extension",
    "phantom_gpu",
    "workload",
    "workload_names",
]


def load_ipython_extension(shell: Any) -> None:
    """Take `%load_ext whichgpu`: from then on `%%whichgpu [options]` compares what its cell trains.

    Args:
        shell: The running `IPython.core.interactiveshell.InteractiveShell`.
    """
    # By name: the rooms above the command line must not depend on it.
    import_module("whichgpu.cli.notebook").load(shell)


def install(options: str = "") -> None:
    """Watch what this program, or this notebook, trains; print the comparison once some seconds of steps are timed.

    Call it before importing torch. Training goes on as it would have, its steps being what is measured here; for the
    GPUs the program runs once more meanwhile, in a process of its own that stops after some steps and leaves its files
    alone.

    Args:
        options: Of `whichgpu compare`, as on a command line: "--device T4 --epochs 3".

    Raises:
        OptionError: If an option makes no sense here.
    """
    import_module("whichgpu.cli.installed").install(options)
