"""The memory of one step over its course as SVG, or as a page of HTML around it: stacked by who holds it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from whichgpu.memory.holders import HOLDERS, Holder, stacked
from whichgpu.report.memory_chart import picked_ops
from whichgpu.units import GIB, MIB, binary_bytes

if TYPE_CHECKING:
    from whichgpu.fit import Fit

_WIDTH, _HEIGHT = 960, 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 64, 56
# Told apart by those who see no red or green, too. Source: Okabe and Ito, jfly.uni-koeln.de/color, 2008.
_COLORS: dict[Holder, str] = {
    "parameters": "#0072b2",
    "optimizer state": "#cc79a7",
    "input and buffers": "#999999",
    "gradients": "#e69f00",
    "activations": "#009e73",
    "temporaries": "#d55e00",
}
# Lines of the scale at least; they stand at round numbers.
_TICKS = 4
# Part of the activations below which a module is not named.
_CRUMB = 0.001


def svg(found: Fit) -> str:
    """Return the picture: memory upwards, the ops of one step to the right, a line where the device ends."""
    line = found.timeline
    picked = picked_ops(line, _WIDTH - _LEFT - _RIGHT)
    edges = stacked(line)
    most = max(edges[-1][index] for index in picked)
    usable = found.now.memory.usable_bytes
    beside = found.now.memory.context_bytes + found.now.memory.collective_bytes
    limit = None if usable is None else usable - beside
    top = max(most, min(limit or 0, 2 * most)) * 1.04 or 1
    unit, name = (GIB, "GiB") if top >= GIB else (MIB, "MiB")

    def x(place: float) -> float:
        return _LEFT + place / max(len(picked) - 1, 1) * (_WIDTH - _LEFT - _RIGHT)

    def y(nbytes: float) -> float:
        return _HEIGHT - _BOTTOM - nbytes / top * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        f'font-size="12" role="img" aria-label="{escape(_title(found), quote=True)}">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="20" font-size="15" font-weight="bold">{escape(_title(found))}</text>',
    ]
    for nbytes in _ticks(top, unit):
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(nbytes):.1f}" y2="{y(nbytes):.1f}" stroke="#dddddd"/>'
            f'<text x="{_LEFT - 6}" y="{y(nbytes) + 4:.1f}" text-anchor="end">{nbytes / unit:g}</text>'
        )
    parts.append(f'<text x="{_LEFT - 6}" y="{_TOP - 8}" text-anchor="end">{name}</text>')
    below = [0] * line.ops
    for holder, edge in zip(HOLDERS, edges, strict=True):
        if any(edge[i] > below[i] for i in picked):
            parts.append(_band(holder, [(x(p), y(edge[i]), y(below[i])) for p, i in enumerate(picked)]))
        below = edge
    for phase, first in line.phases:
        place = next((p for p, i in enumerate(picked) if i >= first), len(picked) - 1)
        # A short last phase has its name to the left of its line.
        anchor, shift = ("end", -3) if x(place) > _WIDTH - _RIGHT - 60 else ("start", 3)
        parts.append(
            f'<line x1="{x(place):.1f}" x2="{x(place):.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM + 6}" stroke="#555555" '
            f'stroke-dasharray="2 3"/><text x="{x(place) + shift:.1f}" y="{_HEIGHT - _BOTTOM + 16}" '
            f'text-anchor="{anchor}">{phase}</text>'
        )
    if limit is not None and limit < top:
        words = f"{found.label}: {binary_bytes(limit)} beside the context"
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(limit):.1f}" y2="{y(limit):.1f}" stroke="#000000" '
            f'stroke-width="1.5"/><text x="{_WIDTH - _RIGHT}" y="{y(limit) - 5:.1f}" text-anchor="end" '
            f'paint-order="stroke" stroke="#ffffff" stroke-width="3">{escape(words)}</text>'
        )
    parts += _legend([h for h in HOLDERS if any(line.holders[h][i] for i in picked)])
    parts.append(
        f'<text x="{_LEFT}" y="{_HEIGHT - 10}" fill="#555555">the ops of one step, in order: {line.ops:,}</text>'
    )
    return "\n".join([*parts, "</svg>"]) + "\n"


def html(found: Fit) -> str:
    """Return a page with the picture, who holds what at the peak, and the modules whose activations they are."""
    from whichgpu.report.fit_form import answer

    memory = found.now.memory
    interval = f"{binary_bytes(memory.device_bytes_low)} to {binary_bytes(memory.device_bytes_high)} in 80 %"
    figures = [
        ("allocated", memory.allocated_bytes, "torch.cuda.max_memory_allocated"),
        ("reserved", memory.reserved_bytes, "torch.cuda.max_memory_reserved"),
        (
            "as nvidia-smi shows it",
            memory.device_bytes,
            f"reserved, context and communication buffers; {interval}",
        ),
    ]
    least = _CRUMB * memory.holders.get("activations", 0)
    sentences = "".join(f"<li>{escape(sentence)}</li>" for sentence in answer(found))
    holders = [(name, nbytes, "") for name, nbytes in memory.holders.items() if nbytes]
    modules = [
        (module or "(outside of modules)", nbytes, "") for module, nbytes in memory.modules[:12] if nbytes > least
    ]
    title = escape(_title(found))
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        "<style>body{font-family:sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .8rem;text-align:left}"
        "td:nth-child(2){text-align:right;font-variant-numeric:tabular-nums}svg{width:100%;height:auto}</style>"
        f"</head><body>\n{svg(found)}<ul>{sentences}</ul>\n"
        f"{_table('Memory of a step', figures)}{_table(f'Held at the peak, in {memory.peak_phase}', holders)}"
        f"{_table('Activations by module', modules)}</body></html>\n"
    )


def _title(found: Fit) -> str:
    return f"{found.job}, batch {found.batch:,}, {found.precision} on {found.label}"


def _ticks(top: float, unit: float) -> list[float]:
    """Return the round numbers of `unit` from 0 to `top` that lines of the scale stand at."""
    power = 10.0 ** math.floor(math.log10(top / unit / _TICKS))
    step = next(n for n in (5, 2, 1) if n * power * _TICKS <= top / unit) * power
    return [place * step * unit for place in range(int(top / unit / step) + 1)]


def _band(holder: Holder, points: Sequence[tuple[float, float, float]]) -> str:
    """Return one area, its upper edge from left to right and its lower one back; each op is a step."""
    there = " ".join(f"{x:.1f},{upper:.1f}" for x, upper, _ in points)
    back = " ".join(f"{x:.1f},{lower:.1f}" for x, _, lower in reversed(points))
    return f'<polygon points="{there} {back}" fill="{_COLORS[holder]}"><title>{holder}</title></polygon>'


def _legend(holders: Sequence[Holder]) -> list[str]:
    parts = []
    x = float(_LEFT)
    for holder in holders:
        parts.append(
            f'<rect x="{x:.0f}" y="32" width="12" height="12" fill="{_COLORS[holder]}"/>'
            f'<text x="{x + 17:.0f}" y="42">{holder}</text>'
        )
        x += 17 + 7 * len(holder) + 18
    return parts


def _table(title: str, rows: Sequence[tuple[str, int, str]]) -> str:
    lines = "".join(
        f"<tr><td>{escape(name)}</td><td>{binary_bytes(nbytes)}</td><td>{escape(words)}</td></tr>"
        for name, nbytes, words in rows
    )
    return f"<h2>{escape(title)}</h2><table>{lines}</table>\n" if rows else ""
