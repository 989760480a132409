"""The built-in jobs: one file each, found by its name; their graphs ship as data.

Adding a job touches one file: a subclass of `Workload` and ``WORKLOAD = ThatClass()``; then ``make graphs``.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

from whichgpu.errors import UnknownNameError

# Imported here for good: Python binds the module `workload` to the package once, and the function below replaces it.
from whichgpu.workloads.workload import Workload

if TYPE_CHECKING:
    from whichgpu.graph import Job

# What `whichgpu compare` shows when nobody names a job: a tiny, a convolutional and a transformer one.
DEFAULT_JOBS = ("mnist", "resnet50", "gpt2")

__all__ = ["DEFAULT_JOBS", "definition", "workload", "workload_names"]


@cache
def _definitions() -> dict[str, Workload]:
    modules = (importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__))
    found = [m.WORKLOAD for m in modules if hasattr(m, "WORKLOAD")]
    by_name = {w.name: w for w in found}
    first = [by_name[name] for name in DEFAULT_JOBS]
    return {w.name: w for w in [*first, *sorted(found, key=lambda w: w.name)]}


def workload_names() -> tuple[str, ...]:
    """Return the names of all built-in jobs, the default ones first."""
    return tuple(_definitions())


def definition(name: str) -> Workload:
    """Return the definition of a built-in job, from which torch can train it.

    Raises:
        UnknownNameError: If no job is called `name`.
    """
    try:
        return _definitions()[name]
    except KeyError:
        raise UnknownNameError("job", name, _definitions(), "whichgpu jobs") from None


def workload(name: str, *, batch: int | None = None, precision: str | None = None, layout: str | None = None) -> Job:
    """Return a built-in job from its shipped graph; needs no framework.

    Args:
        name: One of `workload_names()`.
        batch: Samples of one step; the job's own by default.
        precision: A name of `whichgpu.graph.PRECISIONS` that the job has; its own by default.
        layout: Memory format of images, "nchw" or "channels_last", where the job has one.

    Raises:
        UnknownNameError: If no job or precision is called so.
        OptionError: If the job does not have such a batch, precision or layout.
    """
    from whichgpu.graph.precision import precision as precision_named
    from whichgpu.workloads.shipped import load_shipped

    job = definition(name)
    batch = job.batch if batch is None else batch
    wanted = precision_named(job.precision if precision is None else precision).name
    chosen = job.layout if layout is None else layout
    job.check_options(batch, wanted, chosen)
    return load_shipped(name, batch, wanted, chosen)
