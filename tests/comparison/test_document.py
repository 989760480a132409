import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from tests.report.examples import resnet50, without_epochs
from whichgpu.comparison import SCHEMA
from whichgpu.comparison.document import LIST_SCHEMA, comparisons_to_document, json_schema

VALIDATOR = jsonschema.Draft202012Validator
DOCS = Path(__file__).parents[2] / "docs" / "json.md"
# The fields the format was founded with, which readers rely on: removing one takes a new schema number.
ROW = {
    "device", "kind", "step_s", "step_s_low", "step_s_high", "samples_per_s", "epoch_s", "speedup", "bound",
    "usd_per_epoch", "offer", "notes",
}  # fmt: skip


def test_the_schema_is_itself_valid():
    VALIDATOR.check_schema(json_schema())


@pytest.mark.parametrize("comparison", [resnet50(), resnet50(90), without_epochs()])
def test_documents_keep_to_the_schema(comparison):
    document = comparison.to_dict()
    VALIDATOR(json_schema()).validate(document)
    assert document["schema"] == SCHEMA == "whichgpu.comparison/1"
    assert set(document["rows"][0]) >= ROW
    assert [row["kind"] for row in document["rows"]] == [row.kind for row in comparison.rows]


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("rows", 0, "step_s"), 0),
        (("rows", 0, "step_s"), None),
        (("rows", 2, "memory", "device_bytes"), -1),
        (("rows", 2, "memory", "peak_phase"), "lunch"),
        (("rows", 0, "kind"), "guessed"),
        (("rows", 0, "bound"), "magic"),
        (("rows", 0, "surprise"), 1),
        (("rows", 3, "offer", "usd_per_h"), -1),
        (("job", "epochs"), 0),
        (("schema",), "whichgpu.comparison/2"),
    ],
)
def test_the_schema_refuses_what_is_wrong(where, value):
    document = resnet50().to_dict()
    place = document
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR(json_schema()).validate(document)


def test_every_field_may_not_be_left_out():
    for field in resnet50().to_dict()["rows"][0]:
        document = resnet50().to_dict()
        del document["rows"][0][field]
        with pytest.raises(jsonschema.ValidationError):
            VALIDATOR(json_schema()).validate(document)


def test_every_field_is_documented():
    text = DOCS.read_text(encoding="utf-8")
    documented = set(re.findall(r"`(\w+)`", text))
    schema = json_schema()
    for part in (schema, *schema["$defs"].values()):
        assert set(part["properties"]) <= documented


def test_infinity_is_never_written():
    comparison = resnet50()
    broken = replace(comparison, rows=(replace(comparison.rows[0], speedup=float("inf")),))
    with pytest.raises(ValueError, match="JSON"):
        broken.to_json()


def test_several_are_one_document():
    document = comparisons_to_document([resnet50(), without_epochs()])
    assert document["schema"] == LIST_SCHEMA
    for each in document["comparisons"]:
        VALIDATOR(json_schema()).validate(each)
