"""The time the host needs to issue the calls of a step one by one, and to enter compiled code and launch from it."""

from __future__ import annotations

from whichgpu.cost.family import Family, Host
from whichgpu.cost.kernel_table import KernelTable


def host_s(table: KernelTable, family: Family, host: Host, slower: float = 1.0) -> float:
    """Return the time the host takes to issue the step.

    Args:
        table: The step's calls.
        family: May have an own time an op.
        host: The general times.
        slower: Factor of older software.
    """
    op_s = host.op_s if family.op_host_s is None else family.op_host_s
    return slower * (
        table.op_calls * op_s
        + table.extra_launches * host.launch_s
        + table.view_calls * host.view_s
        + table.synchronizations * host.synchronization_s
        + table.compiled_launches * host.compiled_launch_s
        + table.compiled_calls * host.compiled_call_s
        + table.graph_launches * host.graph_launch_s
    )
