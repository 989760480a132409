"""What this machine and its first GPU are, as JSON on stdout; null where torch finds no GPU."""

from __future__ import annotations

import json
from typing import Any


def describe() -> dict[str, Any] | None:
    """Return the description of this machine; None if torch finds no GPU."""
    import torch

    if not torch.cuda.is_available():
        return None
    from whichgpu.measure.calibration.machine import machine_form, power_meter
    from whichgpu.measure.target import Target

    target = Target.find("cuda:0", "a check")
    return machine_form(target, power_meter(target))


if __name__ == "__main__":
    print(json.dumps(describe()))
