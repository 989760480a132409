import csv
import io
import json

import pytest

from tests.report.examples import resnet50, without_epochs
from whichgpu.comparison.document import TIMES
from whichgpu.errors import OptionError
from whichgpu.report import FORMATS, render


def test_csv_reads_back_to_the_very_numbers():
    lines = list(csv.DictReader(io.StringIO(render([resnet50(), without_epochs()], "csv"))))
    rows = [(c.job.name, row) for c in (resnet50(), without_epochs()) for row in c.rows]
    assert len(lines) == len(rows)
    for line, (job, row) in zip(lines, rows, strict=True):
        assert line["job"] == job
        assert line["offer_provider"] == (row.offer.provider if row.offer else "")
        assert line["fits"] == {None: "", True: "true", False: "false"}[row.fits]
        assert line["memory_device_bytes"] == ("" if row.memory is None else str(row.memory.device_bytes))
        if row.fits is False:
            assert not any(line[field] for field in TIMES)
            continue
        assert float(line["step_s"]) == row.step_s
        assert line["bound"] == (row.bound or "")
        assert line["usd_per_epoch"] == ("" if row.usd_per_epoch is None else repr(row.usd_per_epoch))


def test_one_job_is_its_document_and_several_are_one_document():
    assert json.loads(render([resnet50()], "json")) == resnet50().to_dict()
    several = json.loads(render([resnet50(), without_epochs()], "json"))
    assert several["schema"] == "whichgpu.comparisons/1"
    assert several["comparisons"] == [resnet50().to_dict(), without_epochs().to_dict()]


def test_markdown_tables_are_rectangular_and_escaped():
    text = render([resnet50(), without_epochs()], "md")
    for section in text.split("### ")[1:]:
        table = [line for line in section.splitlines() if line.startswith("|")]
        bars = [line.replace("\\|", "").count("|") for line in table]
        assert len(set(bars)) == 1
    assert "<b>" not in text.replace("\\<b\\>", "")
    assert "a \\| pipe" in text


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_ends_in_one_line_feed(form):
    text = render([resnet50()], form)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_an_unknown_form_is_refused_and_the_known_ones_named():
    with pytest.raises(OptionError, match="table, json, csv, md"):
        render([resnet50()], "pdf")
