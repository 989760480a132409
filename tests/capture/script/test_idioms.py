"""What docs/scripts.md says of each way to write a training script is what becomes of it, in both passes."""

import pytest
from benchmarks.script_idioms import ROOT, TOPICS, idioms, row, rows_written

IDIOMS = [pytest.param(idiom, id=f"{idiom.path.parent.name}/{idiom.path.stem}") for idiom in idioms()]


@pytest.mark.parametrize("idiom", IDIOMS)
def test_the_document_says_what_becomes_of_it(idiom, forked):
    if idiom.missing:
        pytest.skip(f"{', '.join(idiom.missing)} not installed")
    assert row(idiom) == rows_written()[str(idiom.path.relative_to(ROOT))]


def test_every_row_has_its_script():
    assert set(rows_written()) <= {str(idiom.path.relative_to(ROOT)) for idiom in idioms()}
    assert len(rows_written()) >= 60
    assert {idiom.path.parent.name for idiom in idioms()} == set(TOPICS)
