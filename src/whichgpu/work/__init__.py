"""Counting work: Op -> FLOPs, bytes and kernel launches, one file an op family. Knows no device.

Adding an op touches one file: put a function marked ``@counts("aten.name")`` into the family it belongs to.
"""

from whichgpu.work.count import GraphWork, OpCount, count_graph, count_op
from whichgpu.work.kernel import MATRIX_KINDS, Gemm, Kernel, KernelKind, Work
from whichgpu.work.registry import counts, known_ops, rule_for

__all__ = [
    "MATRIX_KINDS",
    "Gemm",
    "GraphWork",
    "Kernel",
    "KernelKind",
    "OpCount",
    "Work",
    "count_graph",
    "count_op",
    "counts",
    "known_ops",
    "rule_for",
]
