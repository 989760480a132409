"""All that is to be done on a GPU borrowed for some minutes: ``python -m benchmarks.borrowed_gpu [-o FOLDER]``.

Needs no installation: a Python that has torch and this package's three dependencies, started in the repository's root
with ``PYTHONPATH=src:.``. First everything is predicted and written down; then the GPU is calibrated; then built-in
jobs and example scripts run on it, as many as time allows. Files are written on the way, so that whatever ends it early
leaves what was found. ``make gpu-check`` is the same with more time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.gpu_cases import RESULTS
from benchmarks.gpu_check import NO_GPU, file_stem, gpu_machine, read_predictions, run_cases, write_predictions
from whichgpu.units import MINUTE_S

# Predictions may take this part of the time; of what is left then, calibration this part, and at most so long.
_PREDICTION_SHARE = 0.3
_CALIBRATION_SHARE, _CALIBRATION_S = 0.55, 330.0
# What calibration needs beyond its time to end.
_GRACE_S = 60.0


def main(arguments: list[str] | None = None) -> None:
    """Predict, calibrate, check, all within the time given."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=RESULTS, help="folder for the results")
    parser.add_argument("--minutes", type=float, default=9.5, help="for all of it")
    parser.add_argument("--only", choices=["calibrate", "check"], help="one half of it")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    until = began + options.minutes * MINUTE_S
    machine = gpu_machine()
    if machine is None:
        print(f"Skipped: {NO_GPU}")
        return
    options.output.mkdir(parents=True, exist_ok=True)
    print(f"{machine['device']['name']}: predictions first", flush=True)
    file = None
    if options.only != "calibrate":
        file = write_predictions(machine, options.output, _PREDICTION_SHARE * options.minutes * MINUTE_S)
    if options.only != "check":
        left_s = until - time.monotonic()
        seconds = min(_CALIBRATION_S, left_s * (_CALIBRATION_SHARE if options.only is None else 0.9))
        calibrate(options.output / f"calibration.{file_stem(machine)}.json", seconds)
    if file is not None:
        run_cases(machine, read_predictions(file), options.output, until)
    print(f"done after {time.monotonic() - began:.0f} s; results are in {options.output}", flush=True)


def calibrate(file: Path, seconds: float) -> None:
    """Run ``whichgpu calibrate`` as a user would."""
    ours = [sys.executable, "-m", "whichgpu", "calibrate", "--no-save"]
    command = [*ours, "-o", str(file), "--seconds", f"{seconds:.0f}"]
    try:
        subprocess.run(command, timeout=seconds + _GRACE_S, check=False)
    except subprocess.TimeoutExpired:
        print(f"calibration ended after {seconds + _GRACE_S:.0f} s; what it had saved counts", flush=True)


if __name__ == "__main__":
    main()
