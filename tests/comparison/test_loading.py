"""Data loading beside steps of 0.1 s on the fastest GPU and 2 s on the other."""

from dataclasses import replace

import pytest

from whichgpu.comparison import compare
from whichgpu.comparison.answer import answer

pytestmark = pytest.mark.usefixtures("world")


@pytest.mark.parametrize(
    ("seconds", "workers", "words"),
    [
        (0.05, 0, "loading adds 50.0 ms to each step on a host like this one, where Fast takes 100 ms for the rest"),
        (0.05, 0, "2 workers would hide it"),
        (0.01, 0, ""),
        (0.0, 0, ""),
        (
            0.31,
            2,
            "loading takes up to 155 ms a step with 2 workers of a host like this one, longer than",
        ),
        (0.31, 2, "at most 5 workers would keep up with Fast"),
        (5.0, 1, "at most 51 workers would keep up"),
        (0.19, 2, ""),
    ],
)
def test_data_that_takes_longer_than_the_step_decides(job, seconds, workers, words):
    found = answer(compare(replace(job, options={"loading_s": seconds, "loader_workers": workers})))
    told = [text for text in found if text.startswith("Data:")]
    assert bool(told) == bool(words)
    assert words in "".join(told)


def test_where_no_loader_was_seen_nothing_is_said(job):
    assert not any(text.startswith("Data:") for text in answer(compare(job)))
