"""The search for changes that make a job need less memory, alone and together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from functools import partial

from whichgpu.devices.device import Device
from whichgpu.errors import OptionError
from whichgpu.estimate.runnable import runnable_precision
from whichgpu.fit.change import Change, in_order
from whichgpu.fit.family import Family
from whichgpu.fit.plan import NotApplicable, Outcome, Plan, carried_out
from whichgpu.graph import precision as precision_named
from whichgpu.memory import AllocatorOptions

_BATCH_NORM = frozenset({"aten.native_batch_norm", "aten.cudnn_batch_norm", "aten._native_batch_norm_legit"})
# Devices to shard over, fewest first; more than a machine of them is another question.
_PROCESSES = (2, 4, 8)
# Time and memory a change may win and still count as none.
_SAME = 0.995
# Combinations worth telling where no change alone suffices.
_MOST_COMBINED = 3
_PRECISIONS = ("amp-bf16", "amp-fp16", "bf16")


class Search:
    """All changes of one job on one device.

    Args:
        family: The job.
        device: Where.
        options: How the allocator cuts memory.
        now: The job as it is.
    """

    def __init__(self, family: Family, device: Device, options: AllocatorOptions | None, now: Outcome) -> None:
        self._family = family
        self._device = device
        self._options = options
        self._now = now
        self._units = -(-family.batch // family.unit)
        self._graph = family.at(family.batch, family.precision).graph
        self._normalizes = any(op.base_name in _BATCH_NORM for op in self._graph.ops)

    def alone(self) -> list[Change]:
        """Return the changes that need less memory, each by itself: those that fit first, the cheapest first."""
        return in_order([change for change in map(self._tried, self._single()) if change is not None])

    def together(self, enough: Sequence[Plan]) -> list[Change]:
        """Return combinations that fit, the cheapest first.

        Args:
            enough: Plans that fit: what holds one of them and more is not told.
        """
        found: list[Change] = []
        for plan in self._combined():
            if any(_holds(plan, less) for less in enough):
                continue
            change = self._tried(plan)
            if change is not None and change.fits:
                found.append(change)
        least = [c for c in found if not any(_holds(c.outcome.plan, d.outcome.plan) for d in found if d is not c)]
        return in_order(least)[:_MOST_COMBINED]

    def _single(self) -> Iterator[Plan]:
        yield from (Plan(precision=name) for name in self._precisions())
        yield Plan(checkpointed=True)
        yield Plan(optimizer="fused")
        yield Plan(optimizer="one by one")
        yield Plan(optimizer="eight bits")
        yield Plan(optimizer="host")
        yield Plan(adapters=True)
        shares = [n for n in _PROCESSES if n <= self._units]
        for surely in (False, True):
            for found in (
                self._fewest(lambda k: Plan(micro_batches=k), _counts(self._units), surely),
                self._fewest(lambda n: Plan(processes=n), shares, surely),
            ):
                if found is not None:
                    yield found

    def _combined(self) -> Iterator[Plan]:
        bases = [
            Plan(checkpointed=True),
            *(Plan(precision=name) for name in self._precisions()),
            *(Plan(precision=name, checkpointed=True) for name in self._precisions()),
            Plan(optimizer="eight bits"),
            Plan(checkpointed=True, optimizer="eight bits"),
            Plan(checkpointed=True, optimizer="host"),
            Plan(adapters=True),
            Plan(checkpointed=True, adapters=True),
        ]
        for base in bases:
            yield base
            micro = self._fewest(partial(_in_micro_batches, base), _counts(self._units))
            if micro is not None:
                yield micro
        sharded = Plan(checkpointed=True, processes=_PROCESSES[-1])
        if self._units >= _PROCESSES[-1]:
            yield sharded
            micro = self._fewest(partial(_in_micro_batches, sharded), _counts(self._units // _PROCESSES[-1]))
            if micro is not None:
                yield micro

    def _fewest(self, plan: Callable[[int], Plan], counts: list[int], surely: bool = False) -> Plan | None:
        """Return the plan of the smallest of `counts` that fits; the largest if none does, None if there is none.

        Args:
            plan: Makes the plan of a count.
            counts: Rising.
            surely: Whether the upper end of its interval has to fit, too.
        """
        low, high = 0, len(counts)
        while low < high:
            middle = (low + high) // 2
            found = self._outcome(plan(counts[middle]), is_timed=False)
            if found is None:
                return None
            enough = found.memory.fits and not (surely and found.memory.is_close)
            low, high = (low, middle) if enough else (middle + 1, high)
        if not counts:
            return None
        return plan(counts[min(low, len(counts) - 1)])

    def _precisions(self) -> Iterator[str]:
        """Yield autocast to one of the half formats, where the job does not train under it, and bfloat16 weights."""
        own = precision_named(self._family.precision)
        if own.weights != "float32":
            return
        runs = [n for n in _PRECISIONS if runnable_precision(self._device, precision_named(n)) is precision_named(n)]
        half = [n for n in runs if precision_named(n).autocast and n in self._family.precisions]
        yield from half[: own.autocast is None]
        yield from (n for n in runs if precision_named(n).autocast is None)

    def _tried(self, plan: Plan) -> Change | None:
        outcome = self._outcome(plan)
        now = self._now.memory
        if outcome is None or outcome.memory.device_bytes > _SAME * now.device_bytes:
            return None
        name, how, alters = self._words(plan)
        return Change(name, how, alters, outcome)

    def _outcome(self, plan: Plan, *, is_timed: bool = True) -> Outcome | None:
        try:
            return carried_out(self._family, plan, self._device, self._options, is_timed=is_timed)
        except (NotApplicable, OptionError):
            return None

    def _words(self, plan: Plan) -> tuple[str, str, str]:
        names: list[str] = []
        hows: list[str] = []
        alters: list[str] = []
        micro = -(-self._family.batch // (plan.micro_batches * plan.processes))
        if plan.precision:
            names.append(f"{plan.precision} instead of {self._family.precision}")
            hows.append("model.to(torch.bfloat16)" if plan.precision == "bf16" else f"torch.autocast: {plan.precision}")
            alters.append("coarser weights" if plan.precision == "bf16" else "coarser numbers")
        if plan.checkpointed:
            names.append("activation checkpointing")
            hows.append("torch.utils.checkpoint around each block, gradient_checkpointing=True in transformers")
        if plan.optimizer:
            name, how, alter = _OPTIMIZERS[plan.optimizer]
            names.append(name)
            hows.append(how)
            alters += [alter] * bool(alter)
        if plan.adapters:
            names.append("LoRA of rank 16")
            hows.append('peft: LoraConfig(r=16, target_modules="all-linear")')
            alters.append("only adapters are trained")
        if plan.processes > 1:
            names.append(f"FSDP over {plan.processes} GPUs")
            hows.append(f"torch.distributed.fsdp.fully_shard, {micro:,} sample{'s' * (micro != 1)} each")
        if plan.micro_batches > 1:
            parts = plan.micro_batches * self._family.unit
            names.append(f"{parts:,} micro-batches of {micro // self._family.unit:,}")
            hows.append("backward for each, optimizer.step() after the last")
        if self._normalizes and plan.checkpointed:
            alters.append("batch norm's averages move twice a step")
        if self._normalizes and (plan.micro_batches > 1 or plan.processes > 1):
            alters.append(f"batch norm over {micro:,} sample{'s' * (micro != 1)}")
        return " + ".join(names), "; ".join(hows), ", ".join(alters)


_OPTIMIZERS = {
    "fused": ("fused optimizer", "fused=True for torch.optim", ""),
    "one by one": ("update of one tensor at a time", "foreach=False for torch.optim", ""),
    "eight bits": ("8-bit optimizer", "bitsandbytes.optim, such as AdamW8bit", "coarser optimizer state"),
    "host": ("optimizer on the CPU", "DeepSpeed ZeRO offload, or CPUOffloadOptimizer of torchao", ""),
}


def _in_micro_batches(plan: Plan, count: int) -> Plan:
    return replace(plan, micro_batches=count)


def _holds(plan: Plan, less: Plan) -> bool:
    """Return whether `plan` is all that `less` is, and more."""
    default = Plan()
    for part in fields(Plan):
        wanted, has = getattr(less, part.name), getattr(plan, part.name)
        if wanted == getattr(default, part.name) or wanted == has:
            continue
        if part.name in ("micro_batches", "processes") and has > wanted:
            continue
        return False
    return plan != less


def _counts(batch: int) -> list[int]:
    """Return into how many micro-batches a batch may be split: evenly where possible, down to one sample each."""
    small = [k for k in range(1, math.isqrt(batch) + 1) if batch % k == 0]
    even = sorted({k for divisor in small for k in (divisor, batch // divisor)} - {1})
    if len(even) > 1 or batch < 2:
        return even
    return [k for k in sorted({2, 3, 4, 6, 8, 12, 16, 24, 32, batch}) if k <= batch]
