"""Reading device files: strict, and every complaint names the file, the device and the field.

A file is TOML: `vendor` and `architecture`, a `[shared]` table of fields that hold for each device of the file unless
it says otherwise, and one `[[device]]` table a sold variant. Quantities carry their unit in the field's name and are
turned to SI here. A field that is not there is unknown; 0 is refused. docs/devices.md describes every field.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, get_args

from whichgpu.devices.device import Device, NumberFormat, Segment, Vendor
from whichgpu.errors import DeviceFileError
from whichgpu.units import GIB, GIGA, MEGA, MIB, TERA

_DATA = Path(__file__).with_name("data")
# Dictionaries as sets that keep their order, in which complaints list the fields.
_FILE_FIELDS = dict.fromkeys(("vendor", "architecture", "shared", "device"))
_TEXTS = ("name", "short_name", "compute_capability", "unit", "source")
_LISTS = ("aliases", "reported_names", "notes")
_COUNTS = ("year", "multiprocessors", "pcie_generation", "pcie_lanes")
# Field of a file: the field of a Device it becomes, and what one of its unit is in SI. Memories are counted in binary.
_QUANTITIES: dict[str, tuple[str, float]] = {
    "memory_gib": ("memory_bytes", GIB),
    "usable_memory_gib": ("usable_memory_bytes", GIB),
    "memory_bandwidth_gb_per_s": ("memory_bandwidth_bytes_per_s", GIGA),
    "boost_clock_mhz": ("boost_clock_hz", MEGA),
    "l2_mib": ("l2_bytes", MIB),
    "tdp_w": ("tdp_w", 1),
    "process_nm": ("process_nm", 1),
    "link_gb_per_s": ("link_bytes_per_s", GIGA),
}
_FORMATS: tuple[NumberFormat, ...] = get_args(NumberFormat)
_REQUIRED = ("name", "short_name", "segment", "tflops", "memory_bandwidth_gb_per_s", "source", "source_date")
_DEVICE_FIELDS = dict.fromkeys((*_TEXTS, *_LISTS, *_COUNTS, *_QUANTITIES, "segment", "tflops", "source_date"))
_SHARED_FIELDS = dict.fromkeys(
    f for f in _DEVICE_FIELDS if f not in ("name", "short_name", "aliases", "reported_names")
)


@cache
def devices() -> tuple[Device, ...]:
    """Return every shipped device, by vendor, architecture and name.

    Raises:
        DeviceFileError: If a shipped file is broken, or two devices answer to one name.
    """
    found = [device for path in _DATA.rglob("*.toml") for device in load_device_file(path)]
    found.sort(key=lambda d: (d.vendor.casefold(), d.architecture.casefold(), d.name.casefold()))
    names_of(found)
    return tuple(found)


def load_device_file(path: str | Path) -> tuple[Device, ...]:
    """Return the devices of the TOML file at `path`, in the file's order.

    Raises:
        DeviceFileError: If the file cannot be read, a field is missing, unknown, of a wrong type, zero or negative, or
            two of its devices answer to one name; the message names the file, the device and the field.
    """
    path = Path(path)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DeviceFileError(f"{path.name}: cannot be read: {error.strerror}. Name a device file.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise DeviceFileError(f"{path.name}: is not TOML: {error}") from error
    top = _Table(path.name, document, _FILE_FIELDS, ("vendor", "architecture", "device"))
    vendor, architecture = top.choice("vendor", get_args(Vendor)), top.text("architecture")
    shared = document.get("shared", {})
    if not isinstance(shared, dict):
        raise top.wrong("shared", "a table: [shared]")
    _Table(f"{path.name}, [shared]", shared, _SHARED_FIELDS, ())
    rows = document["device"]
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise top.wrong("device", "one [[device]] table or more")
    found = tuple(_device(path.name, index, shared | row, vendor, architecture) for index, row in enumerate(rows, 1))
    try:
        names_of(found)
    except DeviceFileError as error:
        raise DeviceFileError(f"{path.name}: {error}") from None
    return found


def names_of(found: tuple[Device, ...] | list[Device]) -> dict[str, Device]:
    """Return each name, short name, alias and reported name of `found`, casefolded, with its device.

    Raises:
        DeviceFileError: If two devices answer to one name.
    """
    by_name: dict[str, Device] = {}
    for device in found:
        for name in (device.name, device.short_name, *device.aliases, *device.reported_names):
            other = by_name.setdefault(name.casefold(), device)
            if other is not device:
                raise DeviceFileError(
                    f"{name!r} names both {other.name!r} and {device.name!r}; "
                    "a name, alias or reported name belongs to one device."
                )
    return by_name


def _device(file: str, index: int, row: Mapping[str, Any], vendor: Any, architecture: str) -> Device:
    called = row.get("short_name") or row.get("name")
    table = _Table(
        f"{file}, device {called!r}" if called else f"{file}, device {index}", row, _DEVICE_FIELDS, _REQUIRED
    )
    fields: dict[str, Any] = {}
    for name in row:
        if name in _TEXTS:
            fields[name] = table.text(name)
        elif name in _LISTS:
            fields[name] = table.texts(name)
        elif name in _COUNTS:
            fields[name] = table.count(name)
        elif name in _QUANTITIES:
            field, factor = _QUANTITIES[name]
            fields[field] = table.positive(name) * factor
    return Device(
        vendor=vendor,
        architecture=architecture,
        segment=table.choice("segment", get_args(Segment)),
        flops_per_s=table.rates("tflops"),
        source_date=table.day("source_date"),
        **fields,
    )


class _Table:
    """A table of a file, which knows where it stands so that a complaint can say it."""

    def __init__(
        self, where: str, row: Mapping[str, Any], known: Mapping[str, object], required: tuple[str, ...]
    ) -> None:
        self.where = where
        self.row = row
        if not row.keys() <= known.keys():
            name = next(name for name in row if name not in known)
            raise DeviceFileError(f"{where}: {name} is no field; expected one of {', '.join(known)}.")
        for name in required:
            if name not in row:
                raise DeviceFileError(f"{where}: {name} is missing; it is needed.")

    def wrong(self, name: str, expected: str) -> DeviceFileError:
        return DeviceFileError(f"{self.where}: {name} is {self.row[name]!r}; expected {expected}.")

    def text(self, name: str) -> str:
        value = self.row[name]
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(name, "text")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.row[name]
        if not isinstance(value, list) or not all(isinstance(v, str) and v.strip() for v in value):
            raise self.wrong(name, "a list of texts")
        return tuple(value)

    def choice(self, name: str, choices: tuple[str, ...]) -> Any:
        if self.row[name] not in choices:
            raise self.wrong(name, "one of " + ", ".join(choices))
        return self.row[name]

    def count(self, name: str) -> int:
        value = self.row[name]
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            raise self.wrong(name, "a whole number above 0")
        return value

    def positive(self, name: str) -> float:
        value = self.row[name]
        if not _is_positive(value):
            raise self.wrong(name, "a number above 0")
        return float(value)

    def rates(self, name: str) -> dict[NumberFormat, float]:
        value = self.row[name]
        if not isinstance(value, dict) or "fp32" not in value:
            raise self.wrong(name, "a table of peaks by number format, fp32 among them")
        for key, rate in value.items():
            if key not in _FORMATS:
                raise DeviceFileError(f"{self.where}: {name}.{key} is no field; expected one of {', '.join(_FORMATS)}.")
            if not _is_positive(rate):
                raise DeviceFileError(f"{self.where}: {name}.{key} is {rate!r}; expected a number above 0.")
        return {key: rate * TERA for key, rate in value.items()}

    def day(self, name: str) -> str:
        try:
            return date.fromisoformat(self.text(name)).isoformat()
        except ValueError:
            raise self.wrong(name, 'a day such as "2026-01-31"') from None


def _is_positive(value: object) -> bool:
    # Far above anything there is, and far below what arithmetic with it could not hold.
    return type(value) in (int, float) and 0 < value < 1e30  # type: ignore[operator]
