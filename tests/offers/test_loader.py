"""Broken provider files: each complaint names the file, the offer and the field."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from whichgpu.errors import OfferFileError
from whichgpu.offers import load_provider_file

SOUND = """
name = "Acme Rentals"
aliases = ["acme cloud"]

[[seen]]
observed = 2026-09-06
source = "acme.example, price list"
region = "moon"
offers = [
  { sku = "one", device = "L4", device_count = 1, PRICES, usd_per_h_spot = 0.2, vcpus = 8, ram_gib = 16 },
]
""".replace("PRICES", "usd_per_h = 0.5, usd_per_h_high = 0.75")


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "acme.toml"
    path.write_text(text)
    return path


def test_a_sound_file(tmp_path: Path) -> None:
    provider, (offer,) = load_provider_file(write(tmp_path, SOUND))
    assert provider.name == "Acme Rentals"
    assert set(provider.aliases) == {"acme", "acme cloud"}
    assert (offer.provider, offer.sku, offer.device, offer.device_count) == ("Acme Rentals", "one", "L4", 1)
    assert (offer.usd_per_h, offer.usd_per_h_high, offer.usd_per_h_spot) == (0.5, 0.75, 0.2)
    assert (offer.vcpus, offer.ram_bytes, offer.region) == (8, 17_179_869_184, "moon")
    assert (offer.observed, offer.source, offer.notes) == (date(2026, 9, 6), "acme.example, price list", "")


def test_a_price_by_the_device_becomes_the_whole_machine(tmp_path: Path) -> None:
    text = SOUND.replace(
        "device_count = 1, usd_per_h = 0.5, usd_per_h_high = 0.75", "device_count = 8, usd_per_device_h = 3"
    )
    _, (offer,) = load_provider_file(write(tmp_path, text))
    assert (offer.usd_per_h, offer.usd_per_h_high) == (24.0, None)


def test_units_become_dollars(tmp_path: Path) -> None:
    text = SOUND.replace("usd_per_h = 0.5, usd_per_h_high = 0.75", "units_per_h = 2, units_per_h_high = 3").replace(
        "[[seen]]", '[unit]\nname = "unit"\npack_usd = 10\npack_units = 100\nsource = "acme"\n\n[[seen]]'
    )
    _, (offer,) = load_provider_file(write(tmp_path, text))
    assert offer.usd_per_h == pytest.approx(0.20)
    assert offer.usd_per_h_high == pytest.approx(0.30)
    assert "2 units/h at $0.1000 each" in offer.notes


def test_a_marketplace_has_a_high_end_and_says_where_it_comes_from(tmp_path: Path) -> None:
    text = SOUND.replace(", usd_per_h_high = 0.75", "").replace(
        "[[seen]]", '[marketplace]\nhigh_over_low = 2\nsource = "acme"\n\n[[seen]]'
    )
    _, (offer,) = load_provider_file(write(tmp_path, text))
    assert offer.usd_per_h_high == 1.0
    assert "2 times the low end" in offer.notes


MARKET = '[marketplace]\nhigh_over_low = 0.5\nsource = "acme"\n\n[[seen]]'
BROKEN = [
    ('name = "Acme Rentals"', 'name = ""', "field 'name'"),
    ('name = "Acme Rentals"', "", "field 'name' is missing"),
    ('name = "Acme Rentals"', 'name = "Acme Rentals"\nurl = "x"', "field 'url' is unknown"),
    ('["acme cloud"]', '"acme cloud"', "field 'aliases'"),
    ("[[seen]]", "[[scene]]", "field 'scene' is unknown"),
    ("[[seen]]", MARKET, "field 'high_over_low' is 0.5"),
    ("observed = 2026-09-06", "", "field 'observed' is missing"),
    ("observed = 2026-09-06", 'observed = "2026-09-06"', "field 'observed'"),
    ("observed = 2026-09-06", "observed = 2026-09-06T10:00:00", "field 'observed'"),
    ('source = "acme.example, price list"', "", "field 'source' is missing"),
    ('source = "acme.example, price list"', 'source = " "', "field 'source'"),
    ('sku = "one", ', "", "offer '?': field 'sku' is missing"),
    ('sku = "one"', "sku = 1", "field 'sku' is 1"),
    ('device = "L4", ', "", "offer 'one': field 'device' is missing"),
    ("device_count = 1, ", "", "field 'device_count' is missing"),
    ("device_count = 1", "device_count = -1", "field 'device_count' is -1"),
    ("device_count = 1", "device_count = 1.0", "field 'device_count' is 1.0"),
    ("device_count = 1", "device_count = true", "field 'device_count' is True"),
    ("usd_per_h = 0.5, ", "", "field 'price' is missing"),
    ("usd_per_h = 0.5", "usd_per_h = 0", "field 'usd_per_h' is 0"),
    ("usd_per_h = 0.5", "usd_per_h = -0.5", "field 'usd_per_h' is -0.5"),
    ("usd_per_h = 0.5", 'usd_per_h = "0.5"', "field 'usd_per_h' is '0.5'"),
    ("usd_per_h = 0.5", "usd_per_h = nan", "field 'usd_per_h' is nan"),
    ("usd_per_h = 0.5", "usd_per_h = 0.5, units_per_h = 2", "exactly one of"),
    ("usd_per_h = 0.5", "usd_per_device_h = 0.5", "expected usd_per_device_h_high"),
    ("usd_per_h = 0.5, usd_per_h_high = 0.75", "units_per_h = 2", "expected a [unit] table"),
    (
        "device_count = 1, usd_per_h = 0.5, usd_per_h_high = 0.75",
        "device_count = 0, usd_per_device_h = 2",
        "'device_count' is 0",
    ),
    ("usd_per_h_high = 0.75", "usd_per_h_high = 0.25", "field 'usd_per_h_high' is 0.25; expected at least"),
    ("usd_per_h_spot = 0.2", "usd_per_h_spot = 0", "field 'usd_per_h_spot' is 0"),
    ("vcpus = 8", "vcpus = 0", "field 'vcpus' is 0"),
    ("ram_gib = 16", "ram_gib = -16", "field 'ram_gib' is -16"),
    ("ram_gib = 16", "ram_gb = 16", "field 'ram_gb' is unknown"),
    ("offers = [", "offers = [ ]\nrest = [", "field 'rest' is unknown"),
    ("offers = [", "offers = [ 3,", "field 'offers'"),
    ("\n]", '\n  { sku = "one", device = "L4", device_count = 1, usd_per_h = 0.6 },\n]', "offer 'one': stands twice"),
    ('name = "Acme Rentals"', "name = ", "cannot be read"),
]


@pytest.mark.parametrize(("old", "new", "complaint"), BROKEN, ids=[c for _, _, c in BROKEN])
def test_a_broken_file_is_named(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in SOUND
    path = write(tmp_path, SOUND.replace(old, new, 1))
    with pytest.raises(OfferFileError) as caught:
        load_provider_file(path)
    assert str(caught.value).startswith("acme.toml")
    assert complaint in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(OfferFileError, match=r"nobody\.toml: cannot be read"):
        load_provider_file(tmp_path / "nobody.toml")
