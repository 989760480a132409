"""Comparisons as text: a table for a terminal, JSON, CSV, Markdown. Renders only; computes nothing."""

from whichgpu.report.render import FORMATS, Page, render

__all__ = ["FORMATS", "Page", "render"]
