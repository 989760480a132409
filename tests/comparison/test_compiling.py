"""Whether torch.compile pays, by hand: 16 s of compiling, 19.99 at the most, and a fifth of the step saved."""

from dataclasses import replace

import pytest

from whichgpu.comparison import compare
from whichgpu.comparison.answer import answer
from whichgpu.comparison.footnotes import footnotes

pytestmark = pytest.mark.usefixtures("world")


@pytest.fixture
def torch_job(job):
    return replace(job, source="torch 2.13.0")


def compiled(job):
    return replace(job, graph=replace(job.graph, mode="fused"))


def told(comparison):
    return [text for text in answer(comparison) if "torch.compile" in text]


def test_it_pays_when_even_the_upper_end_is_made_up_for(torch_job):
    # 20 ms less of 100 ms on the fastest GPU: 19.99 s are made up for after 1,000 steps; an epoch has 10.
    found = compare(torch_job, epochs=100).compiling
    assert (found.compiled, found.device, found.job_steps) == (False, "Fast", 1000)
    assert found.compile_s == pytest.approx(16.0, rel=1e-3)
    assert (found.pays_after_steps, found.pays) == (1000, True)
    assert compare(torch_job, epochs=99).compiling.pays is False


def test_an_eager_job_is_told_in_the_answer_where_it_pays_and_below_where_not(torch_job):
    (sentence,) = told(compare(torch_job, epochs=100))
    assert "16 s of compiling (13 s to 20 s)" in sentence
    assert "20.0 ms less a step on Fast (20 %)" in sentence
    assert "it pays" in sentence
    short = compare(torch_job)
    assert not told(short)
    assert any("it does not pay in the 10 compared." in note for note in footnotes(short).general)


def test_a_compiled_job_is_told_in_the_answer_either_way(torch_job):
    (sentence,) = told(compare(compiled(torch_job)))
    assert "it does not pay in the 10 compared." in sentence


def test_without_an_epoch_only_the_steps_are_told(torch_job):
    found = compare(compiled(replace(torch_job, samples_per_epoch=None)))
    assert found.compiling.pays is None
    assert told(found)[0].endswith("made up for after 1,000 steps at the latest.")


@pytest.mark.parametrize(("compiled_s", "words"), [(0.099, "saves next to nothing"), (0.13, "30 % longer")])
def test_what_saves_nothing_never_pays(torch_job, compiled_s, words):
    found = compare(compiled(torch_job), epochs=10**6)
    found = replace(found, compiling=replace(found.compiling, compiled_step_s=compiled_s, pays_after_steps=None))
    assert words in told(found)[0]
    assert found.to_dict()["compile"]["pays"] is False


def test_other_frameworks_and_processors_alone_say_nothing_of_it(job, torch_job):
    assert compare(job).compiling is None
    assert all(row.eager_step_s is None for row in compare(job).rows)
    assert compare(torch_job, devices=()).compiling is None
    assert compare(torch_job, devices=()).to_dict()["compile"] is None
