"""How many samples a step learns from and how many steps an epoch has, as far as the passes could see."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from statistics import median

from whichgpu.capture.script.seen import Interval, LoaderSeen, Seen

ASK_STEPS = "How many steps an epoch has could not be seen; --steps-per-epoch tells."
ASK_SAMPLES = "How many samples a step learns from could not be seen: it is called 1. --samples-per-step tells."
# A sampler that draws more than so many times the samples there are is told of.
_REPEATED = 2


@dataclass(frozen=True, slots=True)
class Epoch:
    """What a step and an epoch are.

    Attributes:
        samples_per_step: Samples of one step.
        steps_per_epoch: Steps of one epoch; None if unknown.
        samples_per_epoch: Samples of one epoch; None likewise.
        micro_batches: Batches whose gradients a step adds up.
        loader: The loader that feeds training; None if none does.
        sources: Where the figures come from, in sentences.
    """

    samples_per_step: int
    steps_per_epoch: int | None
    samples_per_epoch: int | None
    micro_batches: int
    loader: LoaderSeen | None
    sources: tuple[str, ...]


def steady(seen: Seen) -> list[Interval]:
    """Return the intervals that are a whole step and nothing else: after the first, with the least that is beside it.

    Where gradients of several batches add up, the last step of an epoch may have fewer.
    """
    later = seen.intervals[1:] or seen.intervals
    least = min((i.beside for i in later), default=None)
    alone = [i for i in later if i.beside == least]
    most = max((i.backward_calls for i in alone), default=0)
    return [i for i in alone if i.backward_calls == most]


def epoch_seen(seen: Seen, steps_per_epoch: int | None = None, samples_per_step: int | None = None) -> Epoch:
    """Return what an epoch of the script is.

    Args:
        seen: What a pass saw.
        steps_per_epoch: What the user said, if anything.
        samples_per_step: Likewise.
    """
    intervals = steady(seen)
    fed = _training_loader(seen, intervals)
    sources: list[str] = []
    samples_of_all = 0
    if fed is None:
        # Some optimizers that step one after the other share the gradients, as one would have them.
        loader, batches = None, added_up(seen)
        rows = next((i.input_rows for i in intervals if i.input_rows), None)
        samples, steps = (rows * batches if rows else 1), None
        if samples_per_step is None:
            told = "Samples per step: rows of the model's first input"
            sources.append(f"{told}, times {batches} backward passes." if batches > 1 else f"{told}.")
            if rows is None:
                sources[-1] = ASK_SAMPLES
    else:
        joined = _joined(seen, intervals, sources)
        loader, per_step = joined or _by_rows(fed[0], intervals, sources), 1.0 if joined else fed[1]
        batches = max(round(per_step), 1)
        samples = round((loader.batch or 1) * max(per_step, 1))
        in_epoch = _batches_wanted(seen, loader)
        steps = None if in_epoch is None else max(_rounded(in_epoch / per_step, seen, intervals), 1)
        others = _taking_turns(seen)
        if others:
            # One without a length leaves the epoch without one.
            lengths = [other.batches for other in others if other.batches is not None]
            steps = sum(lengths) if len(lengths) == len(others) else None
            samples_of_all = 0 if steps is None else sum((o.batches or 0) * (o.batch or 1) for o in others)
            sources.append(
                f"Steps are of several kinds, each fed by a DataLoader of its own ({len(others)} of them). "
                f"The one told of has {loader.batch or 'unknown'} samples of {loader.dataset}, and an epoch is a pass "
                "over all."
            )
        elif loader.batches is not None and steps_per_epoch is None and not joined:
            times = f" and {batches} of them a step" if batches > 1 else ""
            sources.append(
                f"Steps per epoch: the DataLoader over {loader.dataset} has {loader.batches:,} batches of "
                f"{loader.batch or 'unknown'}{times}."
            )
            if in_epoch != loader.batches:
                sources.append(f"The script's Trainer ends an epoch after {in_epoch:,} of them.")
            drawn = loader.batches * (loader.batch or 1)
            if loader.samples and drawn > _REPEATED * loader.samples:
                sources.append(
                    f"An epoch draws {drawn:,} samples from a data set of {loader.samples:,}: where training ends "
                    "sooner, --steps-per-epoch tells."
                )
        if loader.batch is None and samples_per_step is None:
            sources.append(ASK_SAMPLES)
    samples = samples_per_step or samples
    if steps_per_epoch is None and seen.steps_wanted is not None and seen.steps_wanted < (steps or sys.maxsize):
        steps, samples_of_all = seen.steps_wanted, 0
        sources.append(f"The script's Trainer ends after {steps:,} steps, which is what is taken for an epoch.")
    steps = steps_per_epoch or steps
    if steps is None:
        sources.append(ASK_STEPS)
    of_epoch = samples_of_all if samples_of_all and not steps_per_epoch else _samples_per_epoch(samples, steps, loader)
    return Epoch(samples, steps, of_epoch, batches, loader, tuple(sources))


def _joined(seen: Seen, intervals: Sequence[Interval], sources: list[str]) -> LoaderSeen | None:
    """Return the loaders of a step as one, where the model is given the batches of all of them at once.

    The longest of them makes an epoch.
    """
    read = intervals[-1].batches if intervals else {}
    loaders = [seen.loaders[key] for key in read]
    batch = sum(loader.batch or 0 for loader in loaders)
    if len(loaders) < 2 or set(read.values()) != {1} or intervals[-1].input_rows != batch:
        return None
    sizes = " and ".join(str(loader.batch) for loader in loaders)
    longest = max(loaders, key=lambda loader: loader.batches or 0)
    sources.append(
        f"A step is made of batches of {len(loaders)} DataLoaders, {sizes} samples; the longest makes an epoch, of "
        f"{longest.batches or 'unknown'} batches."
    )
    return replace(longest, batch=batch, samples=None)


def _by_rows(loader: LoaderSeen, intervals: Sequence[Interval], sources: list[str]) -> LoaderSeen:
    """Return a loader with the rows of its items for samples, where every item of its dataset is a whole batch."""
    rows = loader.rows or 1
    if loader.batch != 1 or rows == 1 or all(i.input_rows != rows for i in intervals):
        return loader
    sources.append(f"Every item of {loader.dataset} is a batch by itself: its {rows:,} rows are taken for samples.")
    return replace(loader, batch=rows, samples=None)


def _batches_wanted(seen: Seen, loader: LoaderSeen) -> int | None:
    """Return how many batches of a loader an epoch has; None where nothing tells."""
    wanted = seen.batches_wanted
    if isinstance(wanted, float):
        return None if loader.batches is None else int(loader.batches * min(wanted, 1.0))
    if wanted is None or loader.batches is None:
        return loader.batches if wanted is None else wanted
    return min(wanted, loader.batches)


def _rounded(steps: float, seen: Seen, intervals: Sequence[Interval]) -> int:
    """Return whole steps of an epoch: batches that are left over make one more where a step of fewer was seen."""
    fewer = any(0 < i.backward_calls < intervals[0].backward_calls for i in seen.intervals)
    return ceil(steps) if seen.steps_on_remainders or fewer else int(steps)


def _taking_turns(seen: Seen) -> list[LoaderSeen]:
    """Return the loaders that feed steps in turns, each step by one of them; [] where there is only one, or all do."""
    fed = [set(i.batches) for i in seen.intervals if i.batches]
    if any(len(keys) > 1 for keys in fed) or len(set().union(*fed)) < 2:
        return []
    return [seen.loaders[key] for key in sorted(set().union(*fed))]


def added_up(seen: Seen) -> int:
    """Return over how many batches the gradients of a step add up; 1 where backward passes are of several kinds."""
    intervals = steady(seen)
    if not intervals or seen.marker not in ("optimizer", "optimizers") or any(i.backward_between for i in intervals):
        return 1
    return max(round(median(i.backward_calls - i.input_again for i in intervals)), 1)


def _training_loader(seen: Seen, intervals: Sequence[Interval]) -> tuple[LoaderSeen, float] | None:
    """Return the loader that yields most batches in steps, and how many a step."""
    totals: dict[str, int] = {}
    for interval in intervals:
        for key, count in interval.batches.items():
            totals[key] = totals.get(key, 0) + count
    if not totals:
        return _first_loader(seen)
    key = max(totals, key=lambda k: totals[k])
    return seen.loaders[key], totals[key] / len(intervals)


def _first_loader(seen: Seen) -> tuple[LoaderSeen, float] | None:
    """Return the loader that yielded before the first step where none did later: it was read ahead."""
    if not seen.intervals:
        return None
    counts = {k: n for k, n in seen.intervals[0].batches.items() if n}
    if not counts:
        return None
    key = max(counts, key=lambda k: counts[k])
    loader = seen.loaders[key]
    if len(seen.intervals) > 1 and counts[key] != loader.batches:
        # One batch fetched, and many steps made of it.
        return None
    return loader, 1.0


def _samples_per_epoch(samples_per_step: int, steps: int | None, loader: LoaderSeen | None) -> int | None:
    if steps is None:
        return None
    known = None if loader is None else loader.samples
    # The last batch may be smaller, where it is not dropped.
    if known is not None and (steps - 1) * samples_per_step < known <= steps * samples_per_step:
        return known
    return steps * samples_per_step
