"""Will it fit, as text for a terminal: the answer, the figures and who holds them, the picture, the changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from whichgpu.report.memory_chart import chart
from whichgpu.report.page import Page, print_on
from whichgpu.report.ruled import Line, numbered, ruled_table
from whichgpu.units import GIB, binary_bytes, duration, of_binary_bytes, three_digits

if TYPE_CHECKING:
    from rich.console import RenderableType

    from whichgpu.fit import Change, Fit

_NOTHING = "–"
_MOST_MODULES = 4
# Where a vendor's GPUs tell their memory: the module of PyTorch, and the program.
_TOLD_BY = {
    "NVIDIA": ("torch.cuda", "nvidia-smi"),
    "AMD": ("torch.cuda", "amd-smi"),
    "Intel": ("torch.xpu", "xpu-smi"),
}


def render_fit(found: Fit, page: Page) -> str:
    """Return everything about one job on one device."""
    from rich.text import Text

    blocks: list[RenderableType] = [
        Text(f"{found.job}, batch {found.batch:,}, {found.precision} on {found.label}", "bold"),
        numbered([("•", sentence) for sentence in answer(found)]),
        _figures(found),
        _holders(found),
        chart(found.timeline, min(page.width, 100), page.color),
    ]
    if found.changes:
        blocks.append(_changes(found))
    below = [*_assumptions(found), *found.notes]
    if below:
        blocks.append(numbered([("•", text) for text in below], "dim"))
    return print_on(page, blocks)


def render_fits(found: Sequence[Fit], page: Page) -> str:
    """Return a line a device: what the job needs there, whether it fits, the largest batch that does."""
    from rich.text import Text

    first = found[0]
    lines = [
        Line(
            (
                f.label,
                three_digits(f.now.memory.device_bytes / GIB),
                _NOTHING if f.now.memory.usable_bytes is None else three_digits(f.now.memory.usable_bytes / GIB),
                _verdict(f),
                _NOTHING if f.largest is None else f"{f.largest.batch:,}",
            )
        )
        for f in found
    ]
    headings = (("", "Device"), ("Needs", "GiB"), ("Usable", "GiB"), ("", "Fits"), ("Largest", "batch"))
    notes = list(dict.fromkeys(note for f in found for note in f.notes))
    blocks: list[RenderableType] = [
        Text(f"{first.job}, batch {first.batch:,}, {first.precision}", "bold"),
        ruled_table(headings, (False, True, True, False, True), lines),
        numbered([("•", "Name one device to see who holds the memory and what would make it fit.")], "dim"),
    ]
    if notes:
        blocks.append(numbered([("•", note) for note in notes], "dim"))
    return print_on(page, blocks)


def answer(found: Fit) -> list[str]:
    """Return whether it fits, the largest batch, and the cheapest change, in sentences."""
    memory = found.now.memory
    interval = f"80 %: {three_digits(memory.device_bytes_low / GIB)}–{three_digits(memory.device_bytes_high / GIB)}"
    if memory.usable_bytes is None:
        sentences = [f"Needs {binary_bytes(memory.device_bytes)} ({interval}); what the device has is not known."]
    else:
        needs = of_binary_bytes(memory.device_bytes, memory.usable_bytes)
        if memory.fits:
            close = "; close: it may not" if memory.is_close else ""
            time = "" if found.now.step_s is None else f", {duration(found.now.step_s)} a step"
            sentences = [f"Fits: needs {needs} ({interval}){time}{close}."]
        else:
            sentences = [f"Does not fit: needs {needs} ({interval})."]
    if found.largest is not None:
        sentences.append(_largest(found))
    best = found.cheapest
    if best is not None:
        what = _cheapest(found, best)
        close = "; close: it may not" if best.outcome.memory.is_close else ""
        alters = f" It alters the training: {best.alters}." if best.alters else ""
        sentences.append(f"{what}: {best.name} ({best.how}){close}.{alters}")
    elif memory.fits is False:
        sentences.append("Nothing known here makes it fit: a device with more memory is needed.")
    return sentences


def _cheapest(found: Fit, best: Change) -> str:
    """Return what the first of the changes is the cheapest of: others may take less time (`fit.change.in_order`)."""
    others = [change for change in found.changes if change.fits]
    alike = [change for change in others if bool(change.alters) == bool(best.alters)]
    are_close = [found.now.memory.is_close, *(change.outcome.memory.is_close for change in alike)]
    surely = "surely " * (not best.outcome.memory.is_close and any(are_close))
    alters = " and alters nothing" * (not best.alters and any(c.alters for c in others))
    if found.now.memory.fits and not surely:
        return f"Cheapest with less memory{' that alters nothing' * bool(alters)}"
    return f"Cheapest that {surely}fits{alters}"


def _largest(found: Fit) -> str:
    assert found.largest is not None
    batch, said = found.largest.batch, found.largest.confirmation
    if not batch or found.largest.outcome is None:
        return "Not even one sample a step fits."
    rounded = f" ({batch // 8 * 8:,} is a multiple of 8)" if batch >= 16 and batch % 8 else ""
    step_s = found.largest.outcome.step_s
    rate = "" if step_s is None else f", {three_digits(batch / step_s)} samples a second"
    sure = found.largest.sure
    surely = f"; {sure:,} even at the interval's upper end" if 0 < sure < batch else ""
    ends = ", all samples of an epoch" * found.largest.ends_data
    return f"Largest batch that fits: {batch:,}{ends}{rounded}{rate}{surely}. {said}"


def _verdict(found: Fit) -> str:
    memory = found.now.memory
    if memory.fits is None:
        return "unknown"
    if not memory.fits:
        return "no"
    return "yes, close" if memory.is_close else "yes"


def _figures(found: Fit) -> RenderableType:
    memory = found.now.memory
    beside = [f"{binary_bytes(memory.context_bytes)} of context"] if memory.context_bytes else []
    beside += [f"{binary_bytes(memory.collective_bytes)} of NCCL"] if memory.collective_bytes else []
    module, tool = _TOLD_BY.get(found.vendor, ("", "process"))
    rows = (
        ("allocated", memory.allocated_bytes, f"{module}.max_memory_allocated" if module else "held by tensors"),
        ("reserved", memory.reserved_bytes, f"{module}.max_memory_reserved" if module else "and what is kept for more"),
        (tool, memory.device_bytes, f"with {' and '.join(beside)}" if beside else "the whole process"),
    )
    lines = [Line((name, three_digits(nbytes / GIB), words)) for name, nbytes, words in rows]
    return ruled_table((("Memory",), ("GiB",), ("as told by",)), (False, True, False), lines, folding=(2,))


def _holders(found: Fit) -> RenderableType:
    memory = found.now.memory
    total = sum(memory.holders.values()) or 1
    lines = []
    for holder, nbytes in sorted(memory.holders.items(), key=lambda item: -item[1]):
        if nbytes < total / 1000:
            continue
        lines.append(Line((holder, three_digits(nbytes / GIB), f"{nbytes / total:.0%}".replace("%", " %"))))
        if holder == "activations":
            shown = [(m, n) for m, n in memory.modules[:_MOST_MODULES] if n >= total / 100]
            lines += [Line((f"  {m or '(outside of modules)'}", three_digits(n / GIB), ""), "dim") for m, n in shown]
    op = memory.peak_op.removeprefix("aten.").rpartition(".")[0] or memory.peak_op
    where = f"At the peak, in {memory.peak_phase} ({op})"
    return ruled_table(((where,), ("GiB",), ("",)), (False, True, True), lines, folding=(0,))


def _changes(found: Fit) -> RenderableType:
    now = found.now.step_s
    memory = found.now.memory
    lines = [Line(("as it is", three_digits(memory.device_bytes / GIB), _time(now), _NOTHING, _NOTHING), "dim")]
    groups = ([c for c in found.changes if c.fits], [c for c in found.changes if not c.fits])
    first = "makes it fit" if memory.fits is False else "needs less"
    for title, changes in zip((first, "helps, but does not suffice"), groups, strict=True):
        if changes:
            lines.append(Line((title,), "italic", rule_above=True))
            lines += [_change(change, now) for change in changes]
    headings = (("", "Change"), ("Memory", "GiB"), ("Time a", "step"), ("Times", "now"), ("Alters", "training"))
    return ruled_table(headings, (False, True, True, True, False), lines, 1, folding=(0, 4))


def _change(change: Change, now: float | None) -> Line:
    step_s = change.outcome.step_s
    return Line(
        (
            change.name,
            three_digits(change.outcome.memory.device_bytes / GIB),
            _time(step_s),
            _NOTHING if step_s is None or now is None else f"{step_s / now:.2f}",
            change.alters or "no",
        ),
        "" if change.fits else "dim",
    )


def _time(step_s: float | None) -> str:
    return _NOTHING if step_s is None else duration(step_s)


def _assumptions(found: Fit) -> list[str]:
    said = dict.fromkeys(text for change in found.changes for text in change.outcome.assumed)
    times = [f"Assumed: {text}." for text in said]
    close = [change.name for change in found.changes if change.fits and change.outcome.memory.is_close]
    if close:
        times.append(f"Close, it may not fit: {', '.join(close)}.")
    if any(change.outcome.plan.processes > 1 for change in found.changes):
        times.append("Time over several GPUs is that of all of them together; each is paid for.")
    return times
