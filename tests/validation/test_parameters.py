"""Parameters of the fit: read back from the coefficients they were put into."""

import pytest
from benchmarks.calibrate import read_structure
from benchmarks.fit import process_nodes
from benchmarks.parameters import COMMON, fill, kind_parameters, own_parameters, read

from whichgpu.cost import efficiencies


def test_what_is_read_back_fills_the_same_document():
    document = read_structure()
    energies = {p.name: p.start for p in COMMON if "energy" in p.name}
    again = fill(document, read(document) | energies, process_nodes(efficiencies()))
    for room in ("compute", "memory", "elements_per_clock", "reorder", "reread", "model"):
        assert again[room] == document[room]
    assert again["tiles"] == document["tiles"]
    assert again["software"] == document["software"]
    for after, before in zip(again["family"], document["family"], strict=True):
        assert after["memory"] == pytest.approx(before["memory"], rel=1e-3)
        assert after["matrix"] == pytest.approx(before["matrix"], rel=1e-3)
        assert after["kernel_start_us"] == before["kernel_start_us"]


def test_everything_but_energies_is_read():
    found = read(read_structure())
    wanted = [*COMMON, *kind_parameters(), *own_parameters("Hopper")]
    assert {p.name for p in wanted if p.name not in found} == {p.name for p in wanted if p.acts == "energy"}
