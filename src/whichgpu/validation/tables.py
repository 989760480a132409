"""From a case to the table of its kernels: what pricing and fitting work on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whichgpu.cost import tabulate
from whichgpu.validation.resolve import Case
from whichgpu.validation.traces import Traces
from whichgpu.work import count_graph

if TYPE_CHECKING:
    from whichgpu.cost.kernel_table import KernelTable


def kernel_table(case: Case, traces: Traces) -> KernelTable:
    """Return the kernels of one step of a case.

    Raises:
        CaptureError: If its job has not been captured, or could not be.
    """
    return tabulate(count_graph(traces.job(case).graph))
