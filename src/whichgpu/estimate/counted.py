"""A job's work, memory and kernels in the precisions asked for: what predictions on any number of devices share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from whichgpu.cost import tabulate
from whichgpu.estimate.recast import recast, renaming
from whichgpu.graph import Job, Precision
from whichgpu.graph import precision as precision_named
from whichgpu.graph.graph import Mode
from whichgpu.memory import GraphMemory
from whichgpu.memory.parallel import per_process
from whichgpu.work import GraphWork, count_graph
from whichgpu.work.count import OnUnknown

if TYPE_CHECKING:
    from whichgpu.cost.kernel_table import KernelTable


@dataclass(frozen=True, slots=True)
class CountedStep:
    """One step, counted.

    Attributes:
        work: Its work.
        table: Its kernels, ready to be priced.
    """

    work: GraphWork
    table: KernelTable

    @classmethod
    def of(cls, work: GraphWork) -> CountedStep:
        """Return `work` with its kernels tabulated."""
        return cls(work, tabulate(work))


class CountedGraph:
    """The graph of a job in one precision.

    Attributes:
        graph: The graph; where only the name of a number format differs, as it was captured.
        step: Its step as the job runs it.
        flops: FLOPs of that.
        bytes_moved: Bytes it reads and writes, each kernel counted alone.
        derived: Whether it was derived from a capture in another precision.
        notes: What is only approximate about it.
    """

    def __init__(
        self, job: Job, precision: Precision, on_unknown: OnUnknown, captured: CountedGraph | None = None
    ) -> None:
        """Derive the graph, and count it.

        Args:
            job: The job.
            precision: The precision.
            on_unknown: See `count_graph`.
            captured: The graph as captured, if only the name of a number format differs: the counts are the same.

        Raises:
            PrecisionError: If it cannot be derived.
            UnknownOpError: If an op has no rule and `on_unknown` is "refuse".
        """
        self._job = job
        self._captured = captured
        self._names = None if captured is None else renaming(job, precision)
        self._on_unknown: OnUnknown = on_unknown
        self.graph, self.notes = (job.graph, ()) if self._names else recast(job, precision)
        self.derived = bool(self._names) or self.graph is not job.graph
        self.step = self._counted(compiled=self.is_compiled)
        self.flops, self.bytes_moved = self.step.work.flops, self.step.work.bytes_moved
        if self.is_compiled:
            self.notes = (*self.notes, _compiled_note(self.step.work, self.other.work))

    @property
    def is_compiled(self) -> bool:
        """Whether the job asks for a compiled step."""
        return self.graph.mode == "fused"

    @cached_property
    def other(self) -> CountedStep:
        """The step compiled if the job is eager, eager if it is compiled."""
        return self._counted(compiled=not self.is_compiled)

    @cached_property
    def memory(self) -> GraphMemory | None:
        """The memory of one of the processes the job was started for; None if it carries no lifetimes."""
        if not self.graph.storages:
            return None
        if self._captured is not None and self._names is not None:
            return self._captured.memory
        own, processes = per_process(replace(self._job, graph=self.graph))
        return GraphMemory(own, world_size=processes)

    @cached_property
    def peak_bytes(self) -> int | None:
        """Bytes of tensors alive at once, at most; None if it carries no lifetimes."""
        return self.graph.peak_bytes() if self.graph.storages else None

    def _counted(self, *, compiled: bool) -> CountedStep:
        if self._captured is not None and self._names is not None:
            same = self._captured.step if compiled == self.is_compiled else self._captured.other
            return CountedStep.of(same.work.retyped(*self._names))
        mode: Mode = "fused" if compiled else "eager"
        return CountedStep.of(count_graph(replace(self.graph, mode=mode), self._on_unknown))


class CountedJob:
    """A job to be predicted more than once: its graph is counted once in each precision, when first asked for.

    Attributes:
        job: The job.
        both_ways: See `estimate_all`.
    """

    def __init__(self, job: Job, *, on_unknown: OnUnknown = "bound", both_ways: bool = False) -> None:
        """Keep what is to be counted; see `estimate_all` for the arguments."""
        self.job = job
        self.both_ways = both_ways
        self._on_unknown: OnUnknown = on_unknown
        self._graphs: dict[str, CountedGraph] = {}

    def counted(self, precision: Precision) -> CountedGraph:
        """Return its graph in `precision`; see `CountedGraph` for what it raises."""
        if precision.name not in self._graphs:
            own = precision_named(self.job.precision)
            is_renamed = precision.name != own.name and renaming(self.job, precision) is not None
            captured = self.counted(own) if is_renamed else None
            self._graphs[precision.name] = CountedGraph(self.job, precision, self._on_unknown, captured)
        return self._graphs[precision.name]


def _compiled_note(work: GraphWork, eager: GraphWork) -> str:
    return (
        f"Compiled, as torch.compile's default mode would: {work.launches:,} kernels instead of {eager.launches:,}, "
        f"{work.bytes_moved / eager.bytes_moved:.0%} of the bytes. Memory is that of the eager step, at most that much."
    ).replace("%", " %")
