"""The pass: a graph of eager ops -> the work of what a compiler makes of it."""

from __future__ import annotations

from collections import Counter

from whichgpu.graph import Graph, Op
from whichgpu.work.count import GraphWork, OnUnknown, OpCount, count_op
from whichgpu.work.fusion.kernels import Launch, launches_of
from whichgpu.work.fusion.layout import Layout, turns_channels_last
from whichgpu.work.fusion.lowering import Lowering
from whichgpu.work.fusion.program import Program
from whichgpu.work.fusion.rules import needs_memory, rule_of
from whichgpu.work.fusion.schedule import group_nodes
from whichgpu.work.fusion.uses import Uses, is_view
from whichgpu.work.kernel import Kernel, Work
from whichgpu.work.traffic import is_channels_last


def fuse_graph(graph: Graph, on_unknown: OnUnknown = "bound") -> GraphWork:
    """Return the work of one step whose forward and backward passes are compiled, its update being eager.

    Args:
        graph: The ops, as eager PyTorch runs them.
        on_unknown: See `count_graph`.

    Raises:
        UnknownOpError: If an op has no work rule and `on_unknown` is "refuse".
    """
    regions, eager = compile_graph(graph)
    counts = [*_eager_counts(eager, on_unknown), *_compiled_counts(regions, on_unknown)]
    return GraphWork(tuple(counts), compiled_calls=len(regions))


def compile_graph(graph: Graph) -> tuple[list[list[Launch]], list[Op]]:
    """Return what each compiled region launches, in order, and the ops that run eagerly."""
    uses = Uses(graph)
    forward = [op for op in graph.ops if op.phase == "forward"]
    is_turned = turns_channels_last(forward, is_inference=uses.is_inference)
    layout = Layout(is_turned and not _lies_channels_last(graph))
    build = Lowering(uses, layout, [needs_memory(op) for op in graph.ops])
    programs: list[Program] = []
    compiled: set[int] = set()
    for region in uses.regions:
        build.begin(region)
        for index in range(region.start, region.end):
            op = graph.ops[index]
            if uses.is_eager(index):
                continue
            compiled.add(index)
            if not is_view(op):
                build.at = index
                rule_of(op)(build, op)
        programs.append(build.program)
    # Only now is it known what later regions need.
    launches = [launches_of(program, group_nodes(program)) for program in programs]
    return launches, [op for index, op in enumerate(graph.ops) if index not in compiled]


def _lies_channels_last(graph: Graph) -> bool:
    """Return whether the user has turned the network already."""
    return any(is_channels_last(op.tensor("input")) for op in graph.ops if op.base_name == "aten.convolution")


def _eager_counts(ops: list[Op], on_unknown: OnUnknown) -> list[OpCount]:
    first: dict[tuple[object, ...], Op] = {}
    calls: Counter[tuple[object, ...]] = Counter()
    for op in ops:
        first.setdefault(op.signature, op)
        calls[op.signature] += op.repeat
    return [OpCount(op, count_op(op, on_unknown), calls[key]) for key, op in first.items()]


def _compiled_counts(regions: list[list[Launch]], on_unknown: OnUnknown) -> list[OpCount]:
    """Return the calls of compiled code; kernels that are alike count together, whatever ops they came from."""
    first: dict[tuple[tuple[Kernel, ...], str], Launch] = {}
    calls: Counter[tuple[tuple[Kernel, ...], str]] = Counter()
    for launch in (launch for region in regions for launch in region):
        bounded = count_op(launch.op, on_unknown).bounded
        key = (launch.kernels, launch.op.base_name if bounded else "")
        first.setdefault(key, launch)
        calls[key] += launch.op.repeat
    return [
        OpCount(launch.op, Work(launch.kernels, bounded=bool(key[1])), calls[key], compiled=True)
        for key, launch in first.items()
    ]
