"""Chains of tiny kernels: what starting a kernel costs the device, and what issuing it costs the host."""

from __future__ import annotations

from collections.abc import Iterator

from whichgpu.graph import Op, Tensor
from whichgpu.measure.calibration.ops import linear, placeholder, unary
from whichgpu.measure.calibration.probe import KernelProbe, Scope

CHAIN = 20


def probes(scope: Scope) -> Iterator[KernelProbe]:
    """Yield each chain as Python issues it, then as one CUDA graph."""
    x = Tensor((1,), "float32", storage=100)
    adds = (unary("aten.add_.Scalar", x, other=1.0),) * CHAIN
    small = tuple(_layers(rows=16, width=64))
    for what, ops in (("additions of one number", adds), ("small linear layers", small)):
        yield KernelProbe(f"chain of {len(ops)} {what}, eager", ops, way="eager")
        if not scope.is_cpu:
            yield KernelProbe(f"chain of {len(ops)} {what}, one graph", ops, way="graph")


def _layers(rows: int, width: int) -> Iterator[Op]:
    """Yield linear layers and ReLUs, each working on what the one before returned."""
    layer = linear(rows, width, width, "float32")
    current = Tensor((rows, width), "float32", storage=100)
    for index in range(CHAIN // 2):
        between, after = placeholder(2 * index), placeholder(2 * index + 1)
        yield Op(layer.name, {**layer.inputs, "mat1": current}, (between,))
        yield Op("aten.relu.default", {"self": between}, (after,))
        current = after
