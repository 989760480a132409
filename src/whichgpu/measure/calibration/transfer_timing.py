"""Running a probe of a copy between host and device."""

from __future__ import annotations

from whichgpu.measure.calibration.probe import TransferProbe
from whichgpu.measure.calibration.record import TransferRecord
from whichgpu.measure.calibration.timing import Clock

_SPEND_S = 0.15


def time_transfer(section: str, probe: TransferProbe, clock: Clock) -> TransferRecord:
    """Return the record of a copy, from page-locked memory or any."""
    import torch

    nbytes = probe.op.tensor("self").numel
    host = torch.randint(0, 255, (nbytes,), dtype=torch.uint8)
    if probe.pinned:
        host = host.pin_memory()
    device = torch.empty(nbytes, dtype=torch.uint8, device=clock.device)
    source, target = (host, device) if probe.op.name == "memcpy.h2d" else (device, host)

    def copy() -> None:
        target.copy_(source, non_blocking=probe.pinned)

    copy()
    clock.synchronize()
    timing = clock.time(copy, _SPEND_S)
    return TransferRecord(section, probe.name, probe.op, probe.pinned, timing.seconds, timing.noise)
