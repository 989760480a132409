"""The file a calibration goes to, written again and again while it grows."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from whichgpu.cli.output import Output
from whichgpu.errors import OutputError

if TYPE_CHECKING:
    from whichgpu.measure.calibration import Calibration


class CalibrationFile:
    """A file that always holds a whole document, the latest.

    Args:
        path: Where; None for a name made of the device and the time, in the current folder.

    Raises:
        OutputError: If nothing can be written there.
    """

    def __init__(self, path: Path | None) -> None:
        Output(path or Path("calibration.json"))  # says at once what would not work in five minutes
        self._path = path

    @property
    def path(self) -> Path | None:
        """Where it lies; None before anything was written to a file without a name."""
        return self._path

    def write(self, calibration: Calibration) -> None:
        """Write what there is.

        Raises:
            OutputError: If that failed.
        """
        from whichgpu.measure.calibration import calibration_to_document

        if self._path is None:
            self._path = Path(default_name(calibration))
        part = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            part.write_text(json.dumps(calibration_to_document(calibration)) + "\n", encoding="utf-8")
            part.replace(self._path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise OutputError(f"Cannot write to {self._path}: {error.strerror or error}.") from error


def default_name(calibration: Calibration) -> str:
    """Return a file name that tells the device and when: calibration.nvidia-l4.20260301T120000.json."""
    device = re.sub(r"[^a-z0-9]+", "-", calibration.device.casefold()).strip("-")
    when = re.sub(r"\D", "", calibration.started[:10]) + "T" + re.sub(r"\D", "", calibration.started[11:19])
    return f"calibration.{device}.{when}.json"
