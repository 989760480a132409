"""The answer in words: would a GPU help, which one, how long, how much, and why."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from whichgpu.comparison.cells import fit_call, rough_duration, times
from whichgpu.comparison.comparison import Comparison, Row
from whichgpu.comparison.compiling import Compiling, sentence
from whichgpu.comparison.loading import loading_answer
from whichgpu.units import duration, usd

# Below this, a prediction cannot tell a gain from its own error.
WORTH_IT = 1.2
# Devices this close to the fastest one count as fast as it: of these the cheapest is named.
AS_FAST = 1.05
# Share of a step that torch.compile must save to be proposed to whom has not asked for it.
_GAIN_TOLD = 0.1

# Predicted so many times too slow where it was measured, a step is not the one that was predicted.
_FAR_OFF = 5.0

_WHY = {
    "compute": "arithmetic takes most of the step (peak FLOP/s decide)",
    "memory bandwidth": "moving data takes most of the step (memory bandwidth decides)",
    "host launch": "the host cannot start kernels fast enough (a faster GPU gains nothing, a larger batch would)",
}


def answer(comparison: Comparison) -> tuple[str, ...]:
    """Return one to six sentences; all but the first only where something is known."""
    gpus = [r for r in comparison.rows if r.accelerator and not comparison.withholds(r)]
    return (*_answer(comparison), *_crowded(comparison), *loading_answer(comparison.job, gpus), *_compiling(comparison))


def _crowded(comparison: Comparison) -> tuple[str, ...]:
    """Return what a reader of the gain must know where this machine had other things to do."""
    if any(row.crowded and row.device == comparison.reference for row in comparison.rows):
        return ("Measured while other programs kept this machine busy: left alone it is faster, and a GPU gains less.",)
    return ()


def compile_note(comparison: Comparison) -> tuple[str, ...]:
    """Return whether torch.compile would pay, where the answer says nothing of it because it would not."""
    found = comparison.compiling
    return () if found is None or _is_answer(found) else (sentence(found),)


def _compiling(comparison: Comparison) -> tuple[str, ...]:
    found = comparison.compiling
    return (sentence(found),) if found is not None and _is_answer(found) else ()


def _is_answer(found: Compiling) -> bool:
    """Return whether compiling is asked for, or would be worth asking for."""
    return found.compiled or (found.pays is True and found.gain >= _GAIN_TOLD)


def _answer(comparison: Comparison) -> tuple[str, ...]:
    gpus = [r for r in comparison.rows if r.accelerator and not comparison.withholds(r)]
    here = next((r for r in comparison.rows if r.device == comparison.reference), None)
    if not gpus:
        return _without_gpus(comparison, here)
    fastest, as_fast = _fastest(gpus)
    off = comparison.reference_off
    if fastest.speedup is not None and here is not None and fastest.speedup < WORTH_IT and (off or 0.0) > _FAR_OFF:
        return (
            f"Whether a GPU would help cannot be told: {here.label} takes {duration(here.step_s)} a step, predicted "
            f"were {duration((off or 0.0) * here.step_s)}. The predicted step does more: a loop may go on until a "
            "number gets small, and no prediction has numbers.",
        )
    if fastest.speedup is not None and here is not None and fastest.speedup < WORTH_IT:
        verdict = "would not help" if fastest.speedup < 1 else "would hardly help"
        return (
            f"A GPU {verdict}: the fastest compared, {fastest.label}, takes {_time(fastest)}, "
            f"{here.label} {_time(here)}.",
            *_why(gpus),
        )
    more = "1 more is" if as_fast == 1 else f"{as_fast} more are"
    cheaper = ", none cheaper" if fastest.usd_per_epoch is not None else ""
    others = f" ({more} as fast within {(AS_FAST - 1) * 100:.0f} %{cheaper})" if as_fast else ""
    return (*_which(gpus, fastest, others, here), *_why(gpus))


def _fastest(gpus: Sequence[Row]) -> tuple[Row, int]:
    """Return the fastest GPU, the cheapest of several as fast, and how many more of these there are."""
    least_s = min(r.step_s for r in gpus)
    as_fast = [r for r in gpus if r.step_s <= AS_FAST * least_s]
    best = min(as_fast, key=lambda r: (inf if r.usd_per_epoch is None else r.usd_per_epoch, r.step_s))
    return best, len(as_fast) - 1


def _without_gpus(comparison: Comparison, here: Row | None) -> tuple[str, ...]:
    too_small = [r for r in comparison.rows if r.accelerator and comparison.withholds(r)]
    if too_small:
        which = "it has" if len(too_small) == 1 else f"all {len(too_small)} compared have"
        return (
            f"No GPU here to train this on: {which} too little memory for this batch. "
            f"`{fit_call(comparison)}` tells what would make it fit.",
        )
    if here is None:
        return ("No GPU was compared.",)
    return (f"{_capital(here.label)} takes {_time(here)}. No GPU was compared.",)


def _which(gpus: Sequence[Row], fastest: Row, others: str, here: Row | None) -> tuple[str, ...]:
    rented = [r for r in gpus if r.usd_per_epoch is not None and (r.speedup is None or r.speedup >= WORTH_IT)]
    if not rented:
        return (f"Fastest: {fastest.label}, {_time(fastest)}{_gain(fastest, here)}{others}.",)
    cheapest = min(rented, key=lambda r: (r.usd_per_epoch or 0.0, r.step_s))
    if cheapest is fastest:
        sentence = (
            f"Cheapest and fastest: {_rented(cheapest)}, {_time_and_money(cheapest)}{_gain(cheapest, here)}{others}."
        )
        return (sentence,)
    money = _time_and_money(fastest) if fastest.usd_per_epoch is not None else f"{_time(fastest)} (nobody rents it out)"
    return (
        f"Cheapest: {_rented(cheapest)}, {_time_and_money(cheapest)}{_gain(cheapest, here)}.",
        f"Fastest: {fastest.label}, {money}{_gain(fastest, None)}{others}.",
    )


def _rented(row: Row) -> str:
    assert row.offer is not None
    return f"a rented {row.label} ({row.offer.provider}, {usd(row.offer.usd_per_h)}/h)"


def _gain(row: Row, here: Row | None) -> str:
    if row.speedup is None:
        return ""
    if here is None:
        return f", {times(row.speedup)} as fast"
    return f", {times(row.speedup)} as fast as {here.label} ({rough_duration(here.epoch_s or here.step_s)})"


def _time(row: Row) -> str:
    if row.epoch_s is None:
        return f"{rough_duration(row.step_s)} a step"
    return f"{rough_duration(row.epoch_s)} an epoch"


def _time_and_money(row: Row) -> str:
    if row.epoch_s is None or row.usd_per_epoch is None:
        return _time(row)
    return f"{rough_duration(row.epoch_s)} and {usd(row.usd_per_epoch)} an epoch"


def _why(gpus: Sequence[Row]) -> tuple[str, ...]:
    by_bound: dict[str, list[Row]] = {}
    for row in gpus:
        if row.bound is not None:
            by_bound.setdefault(row.bound, []).append(row)
    groups = sorted(by_bound.items(), key=lambda item: -len(item[1]))
    if not groups:
        return ()
    known = sum(len(rows) for _, rows in groups)
    if len(groups) == 1:
        where = f"on {groups[0][1][0].label}" if known == 1 else f"on {'both' if known == 2 else f'all {known}'} GPUs"
        return (f"Why: {where} {_WHY[groups[0][0]]}.",)
    first, *others = (f"{_names(rows, known)} {_WHY[bound]}" for bound, rows in groups)
    return (f"Why: on {'; on '.join([first, *others])}.",)


def _names(rows: Sequence[Row], of: int) -> str:
    labels = [r.label for r in rows]
    if len(labels) > 3:
        return f"{len(labels)} of {of} GPUs"
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
