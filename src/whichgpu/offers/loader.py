"""Reading a provider's file: strict, and every complaint names the file, the offer and the field.

A file is TOML: the provider's `name`, `aliases` and `notes`, then one `[[seen]]` table for each source and day, whose
`offers` carry one price each, in one of three forms, from which the price of the whole machine is derived:

- ``usd_per_h``: the whole machine;
- ``usd_per_device_h``: times `device_count`;
- ``units_per_h``: times the price of a unit, from the file's `[unit]` table.

A marketplace's `[marketplace]` table gives the high end of its ranges where none was seen. docs/offers.md describes it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from whichgpu.errors import OfferFileError
from whichgpu.offers.offer import Offer
from whichgpu.offers.provider import Provider
from whichgpu.units import GIB

_REQUIRED = object()
_FILE_FIELDS = {"name", "aliases", "notes", "unit", "marketplace", "seen"}
_UNIT_FIELDS = {"name", "pack_usd", "pack_units", "source"}
_MARKETPLACE_FIELDS = {"high_over_low", "source"}
_SEEN_FIELDS = {"observed", "source", "region", "notes", "offers"}
_PRICES = ("usd_per_h", "usd_per_device_h", "units_per_h")
_OFFER_FIELDS = {
    "sku",
    "device",
    "device_count",
    *_PRICES,
    *(f"{price}_high" for price in _PRICES),
    "usd_per_h_spot",
    "vcpus",
    "ram_gib",
    "notes",
}


def load_provider_file(path: str | Path) -> tuple[Provider, tuple[Offer, ...]]:
    """Return the provider of the TOML file at `path` and its offers, in the file's order.

    Raises:
        OfferFileError: If the file cannot be read, or a field is missing, unknown, of a wrong type, zero or negative;
            the message names the file, the offer and the field.
    """
    path = Path(path)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OfferFileError(f"{path.name}: cannot be read: {error}") from error
    top = _Fields(document, path.name, _FILE_FIELDS)
    name = top.text("name")
    aliases = {alias.casefold(): alias for alias in (path.stem, *top.texts("aliases"))}
    aliases.pop(name.casefold(), None)
    provider = Provider(name=name, aliases=tuple(aliases.values()), notes=top.text("notes", ""))
    usd_per_unit, high_over_low = _unit_price(top), _high_over_low(top)
    offers: list[Offer] = []
    for index, table in enumerate(top.tables("seen")):
        seen = _Fields(table, f"{path.name}, seen {index + 1}", _SEEN_FIELDS)
        for row in seen.tables("offers"):
            fields = _Fields(row, f"{path.name}, offer {row.get('sku', '?')!r}", _OFFER_FIELDS)
            offers.append(_offer(fields, seen, provider, usd_per_unit, high_over_low))
    _check_unique(offers, path.name)
    return provider, tuple(offers)


def _unit_price(top: _Fields) -> float | None:
    if not top.has("unit"):
        return None
    unit = top.table("unit", _UNIT_FIELDS)
    unit.text("source")
    return unit.positive("pack_usd") / unit.positive("pack_units")


def _high_over_low(top: _Fields) -> float | None:
    if not top.has("marketplace"):
        return None
    marketplace = top.table("marketplace", _MARKETPLACE_FIELDS)
    marketplace.text("source")
    factor = marketplace.positive("high_over_low")
    if factor < 1:
        raise marketplace.error("high_over_low", factor, "1 or more")
    return factor


def _offer(
    row: _Fields, seen: _Fields, provider: Provider, usd_per_unit: float | None, high_over_low: float | None
) -> Offer:
    device_count = row.count("device_count", least=0)
    if device_count and not row.has("device"):
        raise row.error("device", "missing", "the name of the device of which it has " + str(device_count))
    low, high, unit_note = _price(row, device_count, usd_per_unit)
    range_note = ""
    if high is None and high_over_low is not None:
        high = low * high_over_low
        range_note = f"No high end was seen: {high_over_low:g} times the low end is given."
    spot = row.positive("usd_per_h_spot") if row.has("usd_per_h_spot") else None
    notes = (row.text("notes", ""), unit_note, range_note, seen.text("notes", ""), provider.notes)
    return Offer(
        provider=provider.name,
        sku=row.text("sku"),
        device=row.text("device", ""),
        device_count=device_count,
        usd_per_h=low,
        usd_per_h_high=high,
        usd_per_h_spot=spot,
        vcpus=row.count("vcpus", least=1) if row.has("vcpus") else None,
        ram_bytes=row.positive("ram_gib") * GIB if row.has("ram_gib") else None,
        region=seen.text("region", ""),
        observed=seen.day("observed"),
        source=seen.text("source"),
        notes=" ".join(n for n in notes if n),
    )


def _price(row: _Fields, device_count: int, usd_per_unit: float | None) -> tuple[float, float | None, str]:
    """Return low and high US dollars an hour of the whole machine, and how they came about."""
    given = [price for price in _PRICES if row.has(price)]
    if len(given) != 1:
        raise row.error("price", " and ".join(given) or "missing", "exactly one of " + ", ".join(_PRICES))
    (price,) = given
    if price == "usd_per_h":
        factor, note = 1.0, ""
    elif price == "usd_per_device_h":
        if not device_count:
            raise row.error("device_count", 0, "1 or more, for a price by the device")
        factor, note = float(device_count), ""
    else:
        if usd_per_unit is None:
            raise row.error("units_per_h", row.positive(price), "a [unit] table in the file, with the price of a unit")
        factor, note = usd_per_unit, f"{row.positive(price):g} units/h at ${usd_per_unit:.4f} each."
    others = [f"{p}_high" for p in _PRICES if p != price and row.has(f"{p}_high")]
    if others:
        raise row.error(others[0], "given", f"{price}_high, since the price is {price}")
    low = row.positive(price)
    if not row.has(f"{price}_high"):
        return low * factor, None, note
    high = row.positive(f"{price}_high")
    if high < low:
        raise row.error(f"{price}_high", high, f"at least {price}, which is {low:g}")
    return low * factor, high * factor, note


def _check_unique(offers: list[Offer], file: str) -> None:
    seen: set[tuple[str, str]] = set()
    for offer in offers:
        if (offer.sku, offer.device) in seen:
            raise OfferFileError(f"{file}, offer {offer.sku!r}: stands twice for device {offer.device!r}; keep one.")
        seen.add((offer.sku, offer.device))


class _Fields:
    """One table of a file, whose fields are read by type and complained about by name."""

    def __init__(self, table: Mapping[str, Any], where: str, known: set[str]) -> None:
        self.values = table
        self.where = where
        unknown = sorted(set(table) - known)
        if unknown:
            raise self.error(unknown[0], "unknown", "one of " + ", ".join(sorted(known)))

    def error(self, field: str, got: object, expected: str) -> OfferFileError:
        return OfferFileError(f"{self.where}: field {field!r} is {got}; expected {expected}.")

    def has(self, field: str) -> bool:
        return field in self.values

    def text(self, field: str, default: object = _REQUIRED) -> str:
        value = self._value(field, "a text") if default is _REQUIRED else self.values.get(field, default)
        if not isinstance(value, str) or (not value.strip() and default is _REQUIRED):
            raise self.error(field, repr(value), "a text that is not empty")
        return value

    def texts(self, field: str) -> tuple[str, ...]:
        value = self.values.get(field, [])
        if not isinstance(value, list) or not all(isinstance(v, str) and v.strip() for v in value):
            raise self.error(field, repr(value), "a list of texts")
        return tuple(value)

    def positive(self, field: str) -> float:
        value = self._value(field, "a number above 0")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
            raise self.error(field, repr(value), "a number above 0")
        return float(value)

    def count(self, field: str, least: int) -> int:
        value = self._value(field, f"a whole number of {least} or more")
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.error(field, repr(value), f"a whole number of {least} or more")
        return value

    def day(self, field: str) -> date:
        value = self._value(field, "a day such as 2026-09-06")
        if type(value) is not date:
            raise self.error(field, repr(value), "a day such as 2026-09-06, without quotes")
        return value

    def table(self, field: str, known: set[str]) -> _Fields:
        value = self._value(field, "a table")
        if not isinstance(value, dict):
            raise self.error(field, repr(value), "a table")
        return _Fields(value, f"{self.where}, [{field}]", known)

    def tables(self, field: str) -> list[dict[str, Any]]:
        value = self._value(field, "a list of tables")
        if not isinstance(value, list) or not value or not all(isinstance(v, dict) for v in value):
            raise self.error(field, repr(value), "a list of tables that is not empty")
        return value

    def _value(self, field: str, expected: str) -> Any:
        if field not in self.values:
            raise self.error(field, "missing", expected)
        return self.values[field]
