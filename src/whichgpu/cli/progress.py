"""The progress bar on stderr; none where nobody sees it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from whichgpu.measure import Progress


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[Progress], None] | None]:
    """Yield what to call with every `Progress`, or None if stderr is no terminal; the bar goes when the block ends."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[message]}", markup=False),
        TimeRemainingColumn(compact=True),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=None, message="")

        def show(progress: Progress) -> None:
            bar.update(
                task,
                description=f"{title}: {progress.phase}",
                completed=progress.done,
                total=progress.total,
                message=progress.message,
            )

        yield show
