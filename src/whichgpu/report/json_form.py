"""The JSON form of comparisons, described in docs/json.md."""

from __future__ import annotations

import json
from collections.abc import Sequence

from whichgpu.comparison.comparison import Comparison
from whichgpu.comparison.document import comparisons_to_document
from whichgpu.report.page import Page


def render(comparisons: Sequence[Comparison], page: Page) -> str:
    """Return the document of one comparison, or one document that holds several."""
    document = comparisons_to_document(comparisons)
    return json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
