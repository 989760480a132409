"""Comparisons as text: a table for a terminal, JSON, CSV, Markdown. Renders only; computes nothing."""

from whichgpu.report.page import Page
from whichgpu.report.render import FORMATS, render

__all__ = ["FORMATS", "Page", "render"]
