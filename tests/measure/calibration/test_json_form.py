"""The JSON form of calibrations."""

import copy
import json

import pytest

from whichgpu.errors import SchemaError
from whichgpu.graph import Op, Tensor
from whichgpu.measure.calibration import (
    Calibration,
    SectionSummary,
    calibration_from_document,
    calibration_to_document,
)
from whichgpu.measure.calibration.probe import AnchorProbe
from whichgpu.measure.calibration.record import (
    AnchorRecord,
    FailedRecord,
    HostRecord,
    KernelRecord,
    Power,
    TransferRecord,
)

X = Tensor((4, 4), "float16")
MM = Op("aten.mm.default", {"self": X, "mat2": X}, (X,))
BYTES = Tensor((64,), "uint8")
POWER = Power(2.0, 690.0, "energy counter", 1.7e9, 1.6e9, 2.6e9, 60.0, ("sw_power_cap",), 100)
RECORDS = [
    KernelRecord("products", "mm", (MM,), False, False, "eager", 1e-3, 0.01, 7, 10, 9e-4, POWER),
    TransferRecord("transfers", "up", Op("memcpy.h2d", {"self": BYTES}, (BYTES,)), True, 1e-5, 0.1),
    HostRecord("host", "add", 5e-6, 0.02),
    AnchorRecord("anchors", AnchorProbe("mnist", 64, "fp32", "nchw"), 1e-3, 0.0, 9, 5e-4, 2.0, 1, 2, POWER),
    AnchorRecord("anchors", AnchorProbe("mnist", 128, "fp32"), None, None, 0, None, None, None, None),
    FailedRecord("attention", "flash", "RuntimeError: no kernel"),
]
CALIBRATION = Calibration(
    {"device": {"name": "NVIDIA L4"}, "cpu": {}},
    "2026-03-01T12:00:00+00:00",
    300.0,
    True,
    False,
    "0.1.0",
    ("a note",),
    {"products": SectionSummary(1, 0, 3, 2.5)},
    RECORDS,
)
DOCUMENT = calibration_to_document(CALIBRATION)


def test_a_calibration_comes_back_as_it_was():
    assert calibration_from_document(json.loads(json.dumps(DOCUMENT))) == CALIBRATION


def broken(change):
    document = copy.deepcopy(DOCUMENT)
    change(document)
    return document


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(schema="whichgpu.job/1"), "whichgpu.calibration/1"),
        (lambda d: d.update(schema="whichgpu.calibration/2"), "newer"),
        (lambda d: d.pop("machine"), "machine"),
        (lambda d: d["machine"]["device"].update(name=None), "device name"),
        (lambda d: d["records"][0].update(kind="song"), "'song'; expected one of kernel"),
        (lambda d: d["records"][0].update(seconds=-1.0), "mm: seconds is -1"),
        (lambda d: d["records"][0].pop("ops"), "ops"),
        (lambda d: d["records"][0]["ops"][0].pop("inputs"), "inputs"),
        (lambda d: d["records"][3]["anchor"].update(task=None, extra=1), "extra"),
    ],
)
def test_a_broken_document_is_refused_in_words(change, message):
    with pytest.raises(SchemaError, match=message):
        calibration_from_document(broken(change))


@pytest.mark.parametrize("document", [None, [], "text", {}, {"schema": 1}])
def test_anything_else_is_no_calibration(document):
    with pytest.raises(SchemaError):
        calibration_from_document(document)
