"""Finding a device by an exact name: never by a part of one, never another device instead."""

from __future__ import annotations

from functools import cache

from whichgpu.devices.device import Device
from whichgpu.devices.loader import devices, names_of
from whichgpu.errors import UnknownNameError

DEFAULT_DEVICES: tuple[str, ...] = (
    "8-core desktop CPU",
    "RTX 3060",
    "RTX 4090",
    "RTX 5090",
    "T4",
    "L4",
    "A10G",
    "L40S",
    "A100 80GB SXM",
    "H100 SXM",
    "H200",
    "B200",
    "MI300X",
)
"""What a comparison shows if nothing is asked for: a CPU to compare with, then what people own or rent."""


def find_device(name: str) -> Device:
    """Return the device whose name, short name, alias or reported name is `name`, compared without case.

    Raises:
        UnknownNameError: If there is none; it carries near names.
    """
    found = _by_name().get(name.strip().casefold())
    if found is None:
        raise UnknownNameError("device", name, _typed_names(), "whichgpu devices")
    return found


@cache
def _by_name() -> dict[str, Device]:
    return names_of(devices())


def _typed_names() -> list[str]:
    """Return one name a device, the one people would type, to look for near ones."""
    return [device.short_name for device in devices()]
