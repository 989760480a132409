"""A way to train the same job with less memory, and the step that comes of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

from whichgpu.devices.device import Device
from whichgpu.errors import WhichGpuError
from whichgpu.estimate import estimate
from whichgpu.fit import transfer
from whichgpu.fit.accumulation import accumulated
from whichgpu.fit.adapters import adapted, takes_adapters
from whichgpu.fit.checkpointing import checkpointed
from whichgpu.fit.family import Family
from whichgpu.fit.update import fused, in_eight_bits, on_the_host, one_by_one, update_of
from whichgpu.graph import Graph, Job
from whichgpu.graph import precision as precision_named
from whichgpu.graph.retype import retyped
from whichgpu.memory import AllocatorOptions, Footprint, GraphMemory
from whichgpu.memory.blocks import blocks_of
from whichgpu.memory.parallel import per_process, sharded
from whichgpu.memory.replay import replay

_FLOAT32_LOSSES = frozenset({"aten._log_softmax", "aten._log_softmax_backward_data"})
# Micro-batches whose calls are laid out one by one to tell their time; what more of them take is a straight line.
_LAID_OUT = 32
_ALL_BFLOAT16 = "in bf16 all but the loss is bfloat16; a model that computes its norms in float32 needs more"
Optimizer = Literal["", "fused", "one by one", "eight bits", "host"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done otherwise than the job says; the defaults are the job as it is.

    Attributes:
        precision: Another precision, or "".
        checkpointed: Whether blocks drop their activations and make them again.
        optimizer: How the update is done.
        adapters: Whether low-rank adapters are trained instead of the weights.
        micro_batches: Into how many parts a step's batch is split, one after the other.
        processes: Over how many devices model and batch are sharded.
    """

    precision: str = ""
    checkpointed: bool = False
    optimizer: Optimizer = ""
    adapters: bool = False
    micro_batches: int = 1
    processes: int = 1


class NotApplicable(Exception):  # noqa: N818
    """A plan that changes nothing in this job, or that nobody would train it by."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a plan comes to on a device.

    Attributes:
        plan: The plan.
        memory: What it needs there.
        step_s: Seconds of one step over the job's whole batch; None if the device cannot train in its precision, or if
            none was asked for.
        assumed: What the time rests on beside the cost model.
    """

    plan: Plan
    memory: Footprint
    step_s: float | None
    assumed: tuple[str, ...] = ()


def carried_out(
    family: Family,
    plan: Plan,
    device: Device,
    options: AllocatorOptions | None,
    batch: int | None = None,
    *,
    is_timed: bool = True,
) -> Outcome:
    """Return what `plan` comes to.

    Args:
        family: The job.
        plan: What is done otherwise.
        device: Where.
        options: How the allocator cuts memory.
        batch: Samples of one step; the job's own if not given.
        is_timed: Whether its time is asked for, too: a search by memory needs none, and is the faster for it.

    Raises:
        NotApplicable: If the plan changes nothing in this job.
        OptionError: If it needs another batch and the job's is fixed.
    """
    whole = family.batch if batch is None else batch
    micro = -(-whole // (plan.micro_batches * plan.processes))
    job, precision = _in_precision(family, micro, plan.precision)
    graph, processes = per_process(job)
    if plan.adapters:
        update = update_of(graph)
        if not takes_adapters(graph) or update is None or not _trains_most(graph):
            raise NotApplicable
        graph = adapted(graph)
    elif plan.optimizer:
        graph = _with_update(graph, plan.optimizer)
    if plan.checkpointed:
        graph = _best_checkpointed(graph)
    if plan.processes > 1:
        if processes > 1:
            raise NotApplicable
        graph, processes = sharded(graph, plan.processes), plan.processes
    parts, whole_graph = plan.micro_batches, graph
    if parts > 1:
        graph = accumulated(whole_graph, min(parts, _LAID_OUT))
    memory = GraphMemory(graph, options, processes).on(device)
    if not is_timed:
        return Outcome(plan, memory, None)
    # Without storages: memory is known already, and need not be worked out once more.
    timed = replace(job, graph=replace(graph, storages=()), samples_per_step=whole, precision=precision)
    step_s: float | None = None
    with suppress(WhichGpuError):
        laid_out_s = estimate(timed, device).step_s
        step_s = laid_out_s
        if parts > _LAID_OUT:
            fewer = replace(timed, graph=replace(accumulated(whole_graph, _LAID_OUT // 2), storages=()))
            each_s = (laid_out_s - estimate(fewer, device).step_s) / (_LAID_OUT - _LAID_OUT // 2)
            step_s = laid_out_s + (parts - _LAID_OUT) * each_s
    assumed: tuple[str, ...] = () if precision in family.precisions else (_ALL_BFLOAT16,)
    if step_s is not None and plan.processes > 1:
        step_s, link = transfer.sharded_step_s(step_s, job.graph, device, plan.processes)
        assumed += (link,)
    if step_s is not None and plan.optimizer == "host":
        step_s, host = transfer.host_update_s(step_s, job.graph, device)
        assumed += (host,)
    return Outcome(plan, memory, step_s, assumed)


def _in_precision(family: Family, batch: int, wanted: str) -> tuple[Job, str]:
    """Return the job in a precision it is known in, or derived where that can be done."""
    if not wanted or wanted in family.precisions:
        found = wanted or family.precision
        return family.at(batch, found), found
    job = family.at(batch, family.precision)
    if wanted != "bf16" or precision_named(job.precision).weights == "bfloat16":
        raise NotApplicable
    return replace(job, graph=in_bfloat16(job.graph), precision=wanted), wanted


def in_bfloat16(graph: Graph) -> Graph:
    """Return a step in float32 or under autocast as it would be with its weights, and nearly all else, in bfloat16.

    The logarithm of a softmax stays in float32, as losses of language models compute it.
    """
    losses = {
        t.storage
        for op in graph.ops
        if op.base_name in _FLOAT32_LOSSES
        for t in (*op.input_tensors(), *op.output_tensors())
        if t.storage is not None and t.dtype == "float32"
    }
    return retyped(retyped(graph, "float16", "bfloat16"), "float32", "bfloat16", losses)


def _with_update(graph: Graph, optimizer: Optimizer) -> Graph:
    update = update_of(graph)
    if update is None or (optimizer == "fused" and update.is_fused):
        raise NotApplicable
    # Where there is a fused operator, it needs as little and is faster than one tensor after the other.
    if bool(update.fused_name) == (optimizer == "one by one"):
        raise NotApplicable
    change = {"fused": fused, "one by one": one_by_one, "eight bits": in_eight_bits, "host": on_the_host}[optimizer]
    return change(graph, update)


def _trains_most(graph: Graph) -> bool:
    """Whether most weights are trained: else adapters are trained already."""
    weights = sum(s.nbytes for s in graph.storages if s.kind == "parameter")
    gradients = sum(s.nbytes for s in graph.storages if s.kind == "gradient" and s.allocated_at is not None)
    return 2 * gradients > weights


def _best_checkpointed(graph: Graph) -> Graph:
    """Return the step with that way of blocks which leaves the least memory."""
    found = [checkpointed(graph, blocks) for blocks in blocks_of(graph)]
    changed = [g for g in found if len(g.ops) > len(graph.ops)]
    if not changed:
        raise NotApplicable
    return min(changed, key=lambda g: replay(g).allocated_bytes)
