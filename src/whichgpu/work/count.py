"""Counting a graph: every op through its rule once per distinct call."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal

from whichgpu.errors import UnknownOpError
from whichgpu.graph import Graph, Op
from whichgpu.graph.op import GRAPH_LAUNCH, is_replayed
from whichgpu.graph.retype import retyped_op
from whichgpu.work.kernel import Kernel, Work
from whichgpu.work.registry import Rule, rule_for

OnUnknown = Literal["bound", "refuse"]
# Work that was counted. The passes over a graph ask for an op several times, and its layers make the same calls.
_BY_IDENTITY: dict[int, tuple[Op, Work]] = {}
_BY_SIGNATURE: dict[tuple[object, ...], Work] = {}
_MOST_KEPT = 20_000
# These stand in the order of a step's calls where it enters compiled code, and where it starts a CUDA graph.
ENTER, REPLAY = -1, -2


@dataclass(frozen=True, slots=True)
class OpCount:
    """One distinct call of a graph.

    Attributes:
        op: The first op of its kind.
        work: The work of one call.
        calls: How often the step makes it.
        compiled: Whether compiled code makes it, which `op` is only the first part of.
        generated: Whether the compiler has written its kernel, rather than called a library.
        replayed: Whether a CUDA graph makes it, so that the host does nothing for it.
    """

    op: Op
    work: Work
    calls: int
    compiled: bool = False
    generated: bool = False
    replayed: bool = False

    def retyped(self, old: str, new: str) -> OpCount:
        """See `GraphWork.retyped`."""
        kernels = tuple(replace(k, dtype=new) if k.dtype == old else k for k in self.work.kernels)
        return replace(self, op=retyped_op(self.op, old, new), work=replace(self.work, kernels=kernels))


@dataclass(frozen=True, slots=True)
class GraphWork:
    """The work of one step, by distinct call.

    Attributes:
        counts: The calls.
        order: Indices into `counts` in the order the step makes the calls, `ENTER` where it enters compiled code,
            `REPLAY` where it starts a CUDA graph.
        compiled_ops: Ops of the eager step that were compiled, each program once.
    """

    counts: tuple[OpCount, ...]
    order: tuple[int, ...] = ()
    compiled_ops: int = 0

    @property
    def compiled_calls(self) -> int:
        """How often the step enters compiled code."""
        return self.order.count(ENTER)

    @property
    def graph_launches(self) -> int:
        """How often the step starts a CUDA graph."""
        return self.order.count(REPLAY)

    @property
    def generated_kernels(self) -> int:
        """Distinct kernels the compiler has to write and compile."""
        return sum(c.generated for c in self.counts)

    @property
    def flops(self) -> float:
        """FLOPs of the step."""
        return sum(c.work.flops * c.calls for c in self.counts)

    @property
    def bytes_moved(self) -> float:
        """Bytes the step reads and writes in device memory, each kernel counted alone."""
        return sum(c.work.bytes_moved * c.calls for c in self.counts)

    @property
    def launches(self) -> int:
        """Kernel launches of the step."""
        return sum(c.work.launches * c.calls for c in self.counts)

    @property
    def compiled_launches(self) -> int:
        """Launches among them that compiled code makes."""
        return sum(c.work.launches * c.calls for c in self.counts if c.compiled)

    @property
    def host_calls(self) -> int:
        """Operator calls the host makes, views among them; those of compiled code and of CUDA graphs are none."""
        return sum(c.calls for c in self.counts if not (c.compiled or c.replayed))

    @property
    def synchronizations(self) -> int:
        """How often the host waits for the device."""
        return sum(c.calls for c in self.counts if c.work.synchronizes)

    @property
    def bounded(self) -> tuple[OpCount, ...]:
        """Calls without a rule of their own, priced as a lower bound."""
        return tuple(c for c in self.counts if c.work.bounded)

    def retyped(self, old: str, new: str) -> GraphWork:
        """Return the work with every tensor of the number format `old` in `new`, of the same size."""
        return replace(self, counts=tuple(c.retyped(old, new) for c in self.counts))

    def kernels(self) -> list[tuple[Kernel, int]]:
        """Return each distinct kernel and how often the step runs it."""
        total: Counter[Kernel] = Counter()
        for count in self.counts:
            for kernel in count.work.kernels:
                total[kernel] += count.calls
        return list(total.items())


def count_op(op: Op, on_unknown: OnUnknown = "refuse") -> Work:
    """Return the work of one call of `op`.

    Raises:
        UnknownOpError: If it has no rule and `on_unknown` is "refuse".
    """
    known = _BY_IDENTITY.get(id(op))
    if known is not None:
        return known[1]
    rule = rule_for(op)
    if rule is not None:
        return _kept(op, rule)
    if on_unknown == "refuse":
        where = f" in {op.module}" if op.module else ""
        raise UnknownOpError(
            f"No work rule for {op.name}{where}. Add one in whichgpu/work/, or pass on_unknown='bound' to price it as "
            "reading its inputs and writing its outputs."
        )
    return Work((_bound(op),), bounded=True)


def _kept(op: Op, rule: Rule) -> Work:
    signature = op.signature
    work = _BY_SIGNATURE.get(signature)
    if work is None:
        work = rule(op)
        if op.base_name.endswith("_backward"):
            work = _backward(work)
    if len(_BY_IDENTITY) >= _MOST_KEPT:
        _BY_IDENTITY.clear()
        _BY_SIGNATURE.clear()
    # With the op itself: as long as it is kept, no other op has its identity.
    _BY_IDENTITY[id(op)] = op, work
    _BY_SIGNATURE[signature] = work
    return work


def count_graph(graph: Graph, on_unknown: OnUnknown = "bound") -> GraphWork:
    """Return the work of one step.

    Args:
        graph: The ops; if its mode is "fused", what a compiler makes of them.
        on_unknown: What to do with an op that has no rule: "bound" prices it as one kernel that reads its inputs and
            writes its outputs, and marks it; "refuse" raises.

    Raises:
        UnknownOpError: If an op has no rule and `on_unknown` is "refuse".
    """
    if graph.mode == "fused":
        from whichgpu.work.fusion import fuse_graph

        return fuse_graph(graph, on_unknown)
    index: dict[tuple[object, ...], int] = {}
    first: list[Op] = []
    order: list[int] = []
    for op in graph.ops:
        if op.name == GRAPH_LAUNCH:
            order.append(REPLAY)
            continue
        at = index.setdefault(op.signature, len(first))
        if at == len(first):
            first.append(op)
        order += [at] * op.repeat
    calls = Counter(order)
    return GraphWork(
        tuple(
            OpCount(op, count_op(op, on_unknown), calls[at], replayed=is_replayed(op)) for at, op in enumerate(first)
        ),
        tuple(order),
    )


def _backward(work: Work) -> Work:
    """Return `work` with its kernels marked as those of gradients, where their rule has not said more."""
    kernels = (replace(k, direction="backward") if k.direction == "forward" else k for k in work.kernels)
    return replace(work, kernels=tuple(kernels))


def _bound(op: Op) -> Kernel:
    """Return a lower bound for an op nobody has described: every input read once, every output written once."""
    dtype = next((t.dtype for t in op.output_tensors()), "float32")
    return Kernel(
        "elementwise",
        dtype,
        flops=float(sum(t.numel for t in op.output_tensors())),
        bytes_read=float(sum(t.nbytes for t in op.input_tensors())),
        bytes_written=float(sum(t.nbytes for t in op.output_tensors())),
    )
