"""Calibration: what a device of this machine really reaches, kernel by kernel, in one file.

`calibrate` runs a sweep (`sweep.py`, plain data: ops of the IR) in a process of its own (`worker.py`) and returns a
`Calibration`, whose JSON form docs/calibration.md describes. Nothing here is predicted, and torch is imported only in
that process.
"""

from whichgpu.measure.calibration.calibration import Calibration, SectionSummary
from whichgpu.measure.calibration.json_form import calibration_from_document, calibration_to_document
from whichgpu.measure.calibration.run import calibrate
from whichgpu.measure.calibration.sweep import SECTIONS

__all__ = [
    "SECTIONS",
    "Calibration",
    "SectionSummary",
    "calibrate",
    "calibration_from_document",
    "calibration_to_document",
]
