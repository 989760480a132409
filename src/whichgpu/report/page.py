"""Where a report goes: how wide it may be and whether it may be coloured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

MIN_WIDTH = 40


@dataclass(frozen=True, slots=True)
class Page:
    """A place to print on.

    Attributes:
        width: Columns of text.
        color: Whether escape codes for colour and weight are understood.
    """

    width: int = 80
    color: bool = False


def print_on(page: Page, blocks: Sequence[RenderableType]) -> str:
    """Return what `page` shows of `blocks`, an empty line between each two, as text that ends in a line feed."""
    from rich.console import Console

    console = Console(
        file=StringIO(),
        width=max(page.width, MIN_WIDTH),
        force_terminal=page.color,
        # In a notebook rich would show what it prints, and give back nothing.
        force_jupyter=False,
        color_system="standard" if page.color else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
        _environ={},
    )
    with console.capture() as captured:
        for index, block in enumerate(blocks):
            if index:
                console.print()
            console.print(block)
    # Rich pads lines to the width of a table: nobody wants the spaces in a file.
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())
