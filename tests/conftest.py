"""No test reads or writes what the developer has measured."""

import pytest


@pytest.fixture(autouse=True)
def no_own_measurements(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("WHICHGPU_NO_OWN_MEASUREMENTS", "1")
    monkeypatch.setenv("WHICHGPU_DATA", str(tmp_path_factory.getbasetemp() / "data"))
