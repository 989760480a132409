"""Generated sections of a Markdown page: each between two comments that name it, the rest is left as it is."""

from __future__ import annotations

from pathlib import Path


def replace_section(page: Path, name: str, body: str) -> None:
    """Put `body` into the section `name` of `page`.

    Raises:
        ValueError: If the page has no such section.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    before, found_begin, rest = page.read_text(encoding="utf-8").partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise ValueError(f"{page} has no section {name!r}; expected {begin} and {end}.")
    page.write_text(f"{before}{begin}\n\n{body.strip()}\n\n{end}{after}", encoding="utf-8")


def table(heads: list[str], rows: list[list[str]], text_columns: int = 1) -> str:
    """Return a Markdown table, all but the first `text_columns` columns flush right."""
    rule = ["---"] * text_columns + ["---:"] * (len(heads) - text_columns)
    return "\n".join(f"| {' | '.join(row)} |" for row in [heads, rule, *rows])
