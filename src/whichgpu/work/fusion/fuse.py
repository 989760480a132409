"""The pass: a graph of eager ops -> the work of what a compiler makes of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from whichgpu.graph import Graph, Op
from whichgpu.graph.op import GRAPH_LAUNCH, is_replayed
from whichgpu.work.count import ENTER, REPLAY, GraphWork, OnUnknown, OpCount, count_op
from whichgpu.work.fusion.kernels import Launch, launches_of
from whichgpu.work.fusion.layout import Layout, turns_channels_last
from whichgpu.work.fusion.lowering import Lowering
from whichgpu.work.fusion.program import Program
from whichgpu.work.fusion.rules import needs_memory, rule_of
from whichgpu.work.fusion.schedule import group_nodes
from whichgpu.work.fusion.uses import Uses, is_view
from whichgpu.work.kernel import Work
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
    calls = _Calls(on_unknown)
    entered = {region.start: region.launches for region in regions}
    for index, op in enumerate(graph.ops):
        if index in entered:
            calls.order.append(ENTER)
            for launch in entered[index]:
                calls.launch(launch)
        if index in eager:
            calls.call(op)
    # What runs once more, such as every micro-batch of a step after the first, is compiled already.
    programs = {tuple(op.signature for op in graph.ops[r.start : r.end]): r for r in regions}
    compiled_ops = sum(sum(i not in eager for i in range(r.start, r.end)) for r in programs.values())
    return calls.work(compiled_ops=compiled_ops)


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a compiled region launches, in order, and the indices of its ops: `start` to `end`, which is left out."""

    start: int
    end: int
    launches: list[Launch]


def compile_graph(graph: Graph) -> tuple[list[Compiled], set[int]]:
    """Return the compiled regions in order, and the indices of the ops that run eagerly."""
    uses = Uses(graph)
    forward = [op for op in graph.ops if op.phase == "forward"]
    is_turned = turns_channels_last(forward, is_inference=uses.is_inference)
    layout = Layout(is_turned and not _lies_channels_last(graph))
    build = Lowering(uses, layout, [needs_memory(op) for op in graph.ops])
    programs: list[Program] = []
    eager = set(range(len(graph.ops)))
    for region in uses.regions:
        build.begin(region)
        for index in range(region.start, region.end):
            op = graph.ops[index]
            if uses.is_eager(index):
                continue
            eager.discard(index)
            if not is_view(op):
                build.at = index
                rule_of(op)(build, op)
        programs.append(build.program)
    # Only now is it known what later regions need.
    launches = [launches_of(program, group_nodes(program)) for program in programs]
    return [Compiled(r.start, r.end, found) for r, found in zip(uses.regions, launches, strict=True)], eager


def _lies_channels_last(graph: Graph) -> bool:
    """Return whether the user has turned the network already."""
    return any(is_channels_last(op.tensor("input")) for op in graph.ops if op.base_name == "aten.convolution")


class _Calls:
    """The calls of a step in order; what compiled code launches alike counts together, whatever ops it came from."""

    def __init__(self, on_unknown: OnUnknown) -> None:
        self.order: list[int] = []
        self._on_unknown = on_unknown
        self._index: dict[tuple[object, ...], int] = {}
        self._made: list[OpCount] = []

    def call(self, op: Op) -> None:
        """Append the call of an op."""
        if op.name == GRAPH_LAUNCH:
            self.order.append(REPLAY)
        else:
            at = self._place(op.signature)
            if at == len(self._made):
                self._made.append(OpCount(op, count_op(op, self._on_unknown), 0, replayed=is_replayed(op)))
            self.order += [at] * op.repeat

    def launch(self, launch: Launch) -> None:
        """Append what compiled code launches."""
        bounded = count_op(launch.op, self._on_unknown).bounded
        key = (launch.kernels, launch.op.base_name if bounded else "")
        at = self._place(key)
        if at == len(self._made):
            work = Work(launch.kernels, bounded=bounded)
            self._made.append(OpCount(launch.op, work, 0, compiled=True, generated=launch.nodes > 0))
        self.order += [at] * launch.op.repeat

    def _place(self, key: tuple[object, ...]) -> int:
        return self._index.setdefault(key, len(self._made))

    def work(self, compiled_ops: int) -> GraphWork:
        """Return the work of the step."""
        calls = Counter(self.order)
        counts = tuple(replace(count, calls=calls[at]) for at, count in enumerate(self._made))
        return GraphWork(counts, tuple(self.order), compiled_ops)
