"""One job on many devices: measured here, predicted elsewhere, with the money it takes."""

from whichgpu.comparison.compare import compare
from whichgpu.comparison.comparison import SCHEMA, Comparison, JobSummary, Row, RowOffer

__all__ = ["SCHEMA", "Comparison", "JobSummary", "Row", "RowOffer", "compare"]
