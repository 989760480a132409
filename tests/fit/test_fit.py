"""The answer as a whole: largest batches, changes in order, what is said where nothing can be."""

import json
import re
from dataclasses import replace

import pytest

from whichgpu import workload
from whichgpu.devices import find_device
from whichgpu.errors import OptionError
from whichgpu.fit import BuiltIn, CapturedTwice, Fixed, fit
from whichgpu.fit import plan as plan_module
from whichgpu.fit.changes import _counts, _holds
from whichgpu.fit.document import fit_to_document
from whichgpu.fit.largest import largest_batch
from whichgpu.fit.plan import Plan, carried_out
from whichgpu.graph import Graph
from whichgpu.report.fit_form import render_fit, render_fits
from whichgpu.report.memory_picture import html, svg
from whichgpu.report.page import Page
from whichgpu.units import duration

GIB = 1024**3
T4, RTX_3060 = find_device("T4"), find_device("RTX 3060")


@pytest.fixture(scope="module")
def too_large():
    return fit(BuiltIn("resnet50", 512, None, None), RTX_3060, confirm=False)


def test_the_largest_batch_fits_and_one_more_step_does_not(too_large):
    family = BuiltIn("resnet50", 512, None, None)
    batch = too_large.largest.batch
    assert carried_out(family, Plan(), RTX_3060, None, batch).memory.fits
    assert not carried_out(family, Plan(), RTX_3060, None, batch + 1).memory.fits
    assert too_large.largest.outcome.memory.fits


@pytest.mark.parametrize("batch", [8, 100, 512])
def test_the_largest_batch_is_the_same_wherever_the_search_begins(too_large, batch):
    found = largest_batch(BuiltIn("resnet50", batch, None, None), RTX_3060, confirm=False)
    assert (found.batch, found.sure) == (too_large.largest.batch, too_large.largest.sure)


def test_a_batch_is_not_larger_than_the_data():
    job = replace(workload("mnist", batch=64), samples_per_epoch=1000)
    found = fit(CapturedTwice(job, workload("mnist", batch=32)), T4, confirm=False)
    assert (found.largest.batch, found.largest.ends_data) == (1000, True)
    assert "Largest batch that fits: 1,000, all samples of an epoch" in " ".join(render_fit(found, Page()).split())


def test_a_large_batch_in_many_micro_batches_is_searched_by_memory_alone(monkeypatch):
    priced = []
    whole = plan_module.estimate
    monkeypatch.setattr(plan_module, "estimate", lambda job, device: priced.append(job) or whole(job, device))
    found = fit(BuiltIn("gpt2", 4096, None, None), T4, confirm=False)
    assert found.cheapest.outcome.plan.micro_batches >= 512
    # The fewest that fit, and the fewest that surely do, each by two points: what the searches tried is not among them.
    assert len([job for job in priced if any(op.repeat > 1 for op in job.graph.ops)]) <= 4


@pytest.mark.parametrize(("job", "device"), [("mnist", "T4"), ("gpt2", "RTX 3060"), ("lstm", "T4")])
def test_largest_batches_of_jobs_small_and_large(job, device):
    family, where = BuiltIn(job, None, None, None), find_device(device)
    batch = fit(family, where, confirm=False).largest.batch
    assert carried_out(family, Plan(), where, None, batch).memory.fits
    assert not carried_out(family, Plan(), where, None, batch + max(1, batch // 1024)).memory.fits


def test_where_not_one_sample_fits_it_says_so():
    found = fit(BuiltIn("llama3-8b-lora", 1, None, None), T4, confirm=False)
    assert found.largest.batch == 0
    assert "Not even one sample a step fits." in " ".join(render_fit(found, Page()).split())


def test_a_gpu_that_cannot_train_in_the_precision_is_told_of():
    found = fit(BuiltIn("llama3-8b-lora", 1, None, None), T4, confirm=False)
    assert found.now.step_s is None
    assert any(note.startswith("T4 cannot train in bf16") for note in found.notes)


def test_the_sure_batch_fits_with_the_upper_end_of_its_interval(too_large):
    family, sure = BuiltIn("resnet50", 512, None, None), too_large.largest.sure
    assert 0 < sure < too_large.largest.batch
    assert not carried_out(family, Plan(), RTX_3060, None, sure).memory.is_close
    assert carried_out(family, Plan(), RTX_3060, None, sure + max(1, sure // 32)).memory.is_close
    assert "even at the interval's upper end" in " ".join(render_fit(too_large, Page()).split())


def test_what_fits_surely_stands_before_what_may_not(too_large):
    close = [c.outcome.memory.is_close for c in too_large.changes if c.fits and c.alters]
    assert close == sorted(close) and True in close
    assert not too_large.cheapest.outcome.memory.is_close
    assert "Close, it may not fit: 2 micro-batches of 256" in " ".join(render_fit(too_large, Page()).split())


def test_changes_that_fit_come_first_and_of_these_those_that_alter_nothing(too_large):
    fitting = [change.fits for change in too_large.changes]
    assert fitting == sorted(fitting, reverse=True)
    assert all(c.outcome.memory.device_bytes < too_large.now.memory.device_bytes for c in too_large.changes)
    assert too_large.cheapest.fits
    micro = next(c for c in too_large.changes if c.outcome.plan == Plan(micro_batches=2))
    assert micro.name == "2 micro-batches of 256"
    assert micro.alters == "batch norm over 256 samples"
    assert micro.outcome.step_s == pytest.approx(too_large.now.step_s, rel=0.1)


def test_checkpointing_costs_time_and_alters_only_the_averages_of_batch_norm(too_large):
    change = next(c for c in too_large.changes if c.outcome.plan == Plan(checkpointed=True))
    assert 1.1 < change.outcome.step_s / too_large.now.step_s < 1.6
    assert change.alters == "batch norm's averages move twice a step"
    plain = fit(BuiltIn("bert-base", 64, "fp32", None), RTX_3060, confirm=False)
    assert next(c for c in plain.changes if c.outcome.plan == Plan(checkpointed=True)).alters == ""


def test_where_no_change_alone_suffices_they_are_combined():
    found = fit(BuiltIn("gpt2", 2, "fp32", None), find_device("GTX 1650"), confirm=False)
    best = found.cheapest
    assert best is not None
    assert " + " in best.name or best.outcome.memory.fits


def test_a_job_that_fits_but_closely_is_told_what_would_make_room():
    needed = carried_out(BuiltIn("gpt2", 8, None, None), Plan(), T4, None).memory.device_bytes
    tight = replace(T4, usable_memory_bytes=1.02 * needed)
    found = fit(BuiltIn("gpt2", 8, None, None), tight, confirm=False)
    assert found.now.memory.fits and found.now.memory.is_close
    assert found.cheapest is not None and not found.cheapest.outcome.memory.is_close
    assert "Cheapest that surely fits" in " ".join(render_fit(found, Page()).split())


def test_a_job_that_fits_needs_no_change():
    found = fit(BuiltIn("mnist", None, None, None), T4, confirm=False)
    assert (found.now.memory.fits, found.changes, found.cheapest) == (True, (), None)


def test_unknown_memory_gives_no_largest_batch():
    unknown = replace(T4, memory_bytes=None, usable_memory_bytes=None)
    found = fit(BuiltIn("mnist", None, None, None), unknown, confirm=False)
    assert found.largest is None
    assert "not known" in render_fit(found, Page())


def test_a_host_processor_and_a_job_without_lifetimes_are_refused():
    with pytest.raises(OptionError, match="host processor"):
        fit(BuiltIn("mnist", None, None, None), find_device("8-core desktop CPU"))
    job = workload("mnist")
    bare = replace(job, graph=Graph(job.graph.ops))
    with pytest.raises(OptionError, match="whichgpu capture"):
        fit(Fixed(bare, "fixed"), T4)


def test_a_job_known_at_one_batch_says_why_and_still_finds_changes():
    job = workload("resnet50", batch=512)
    found = fit(Fixed(job, "captured at one batch"), RTX_3060)
    assert found.largest is None
    assert "captured at one batch" in found.notes
    plans = [c.outcome.plan for c in found.changes]
    assert Plan(checkpointed=True) in plans
    assert not any(p.micro_batches > 1 for p in plans)


def test_two_captures_give_every_batch():
    twice = CapturedTwice(workload("gpt2", batch=8), workload("gpt2", batch=4))
    known = BuiltIn("gpt2", 8, None, None)
    for batch in (1, 6, 20):
        assert (
            twice.at(batch, twice.precision).graph.peak_bytes() == known.at(batch, known.precision).graph.peak_bytes()
        )
    with pytest.raises(OptionError, match="another batch"):
        CapturedTwice(workload("gpt2", batch=8), workload("gpt2", batch=8))
    with pytest.raises(OptionError, match="captures at 8 and 4"):
        CapturedTwice(workload("gpt2", batch=8), workload("bert-base", batch=4))


def test_a_batch_that_is_a_width_of_the_net_by_chance():
    """bert-base at 768, and gpt2 at 4 as its three tensors of 4: what is alike at one batch only is told apart."""
    twice = CapturedTwice(workload("bert-base", batch=768), workload("bert-base", batch=384))
    known = BuiltIn("bert-base", 768, None, None)
    at = twice.at(512, twice.precision).graph
    assert at.peak_bytes() == known.at(512, known.precision).graph.peak_bytes()


def test_a_step_of_one_sample_is_left_out_of_the_line():
    one, two, three = (workload("gpt2", batch=batch) for batch in (1, 2, 3))
    found = CapturedTwice(one, two, None, three)
    assert found.batch == 1 and found.at(1, found.precision) is one
    known = BuiltIn("gpt2", 8, None, None)
    assert found.at(8, found.precision).graph.peak_bytes() == known.at(8, known.precision).graph.peak_bytes()
    with pytest.raises(OptionError, match="another batch"):
        CapturedTwice(one, two, None, two)


def test_a_step_of_several_micro_batches_is_a_line_in_one_of_them():
    """A batch of 12 in 4 parts of 3: no size grows by a whole number a sample."""

    def step(batch):
        job = workload("gpt2", batch=batch // 4)
        return replace(job, samples_per_step=batch, options={"micro_batches": 4})

    found = CapturedTwice(step(12), step(24))
    assert found.unit == 4
    wide = found.at(40, found.precision)
    assert (wide.samples_per_step, wide.graph.peak_bytes()) == (40, workload("gpt2", batch=10).graph.peak_bytes())
    largest = largest_batch(found, T4, confirm=False)
    alone = largest_batch(BuiltIn("gpt2", 8, None, None), T4, confirm=False)
    assert (largest.batch, largest.sure) == (4 * alone.batch, 4 * alone.sure)
    names = [change.name for change in fit(CapturedTwice(step(96), step(48)), T4, confirm=False).changes]
    assert "16 micro-batches of 6" in names


def test_the_time_of_many_micro_batches_is_a_straight_line(monkeypatch):
    family, plan = BuiltIn("gpt2", 256, None, None), Plan(micro_batches=64)
    line_s = carried_out(family, plan, T4, None).step_s
    monkeypatch.setattr(plan_module, "_LAID_OUT", 64)
    assert line_s == pytest.approx(carried_out(family, plan, T4, None).step_s, rel=0.002)


def test_autocast_and_bfloat16_are_tried_for_a_job_captured_in_float32():
    asked = []

    def capture(batch, precision):
        asked.append((batch, precision))
        return workload("gpt2", batch=batch, precision=precision)

    first, second = (workload("gpt2", batch=b, precision="fp32") for b in (8, 4))
    found = fit(CapturedTwice(first, second, capture), RTX_3060, confirm=False)
    by_plan = {c.outcome.plan: c for c in found.changes}
    known = BuiltIn("gpt2", 8, "fp32", None)
    # bfloat16 is derived by rule: as much is allocated, and cut a little otherwise.
    for name, tolerance in (("amp-bf16", 0.001), ("bf16", 0.1)):
        theirs = carried_out(known, Plan(precision=name), RTX_3060, None).memory.device_bytes
        assert by_plan[Plan(precision=name)].outcome.memory.device_bytes == pytest.approx(theirs, rel=tolerance)
    assert (8, "amp-bf16") in asked
    # Fixed at its batch it is captured under autocast all the same, and a capture that fails is no change.
    fixed = fit(Fixed(first, "fixed", capture), RTX_3060)
    assert Plan(precision="amp-bf16") in [c.outcome.plan for c in fixed.changes]
    silent = fit(Fixed(first, "fixed", lambda batch, precision: first), RTX_3060)
    assert Plan(precision="amp-bf16") not in [c.outcome.plan for c in silent.changes]


def test_under_autocast_only_the_weights_are_left_to_turn_to_bfloat16():
    found = fit(BuiltIn("gpt2", 16, "amp-bf16", None), RTX_3060, confirm=False)
    assert {c.outcome.plan.precision for c in found.changes} == {"", "bf16"}


def test_batches_are_split_evenly_where_they_can_be():
    assert _counts(12) == [2, 3, 4, 6, 12]
    assert _counts(7) == [2, 3, 4, 6, 7]
    assert _counts(1) == []
    assert _counts(10**12)[-1] == 10**12  # at once


def test_a_plan_that_holds_another_and_more_is_told_apart():
    assert _holds(Plan(checkpointed=True, micro_batches=4), Plan(micro_batches=2))
    assert not _holds(Plan(micro_batches=2), Plan(micro_batches=4))
    assert not _holds(Plan(checkpointed=True), Plan(checkpointed=True))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_page(too_large, width):
    text = render_fit(too_large, Page(width))
    assert max(map(len, text.splitlines())) <= width
    assert text.startswith("resnet50, batch 512, amp-fp16 on RTX 3060\n")
    assert "Does not fit: needs" in text
    for word in ("allocated", "reserved", "nvidia-smi", "activations", "forward", "backward"):
        assert word in text


def test_the_cheapest_says_what_it_is_the_cheapest_of(too_large):
    assert "• Cheapest that surely fits: " in render_fit(too_large, Page())
    best = too_large.cheapest
    plain, dear = replace(best, alters=""), replace(best, name="dear")
    some = replace(too_large, changes=(plain, dear))
    assert "• Cheapest that fits and alters nothing: " in render_fit(some, Page())
    assert "• Cheapest that fits: " in render_fit(replace(too_large, changes=(best,)), Page())


def test_the_job_as_it_is_stands_above_its_changes(too_large):
    (line,) = [line for line in render_fit(too_large, Page()).splitlines() if line.startswith("as it is")]
    assert duration(too_large.now.step_s) in line


@pytest.mark.parametrize(
    ("device", "words"),
    [("MI300X", "amd-smi torch.cuda"), ("Arc B580", "xpu-smi torch.xpu"), ("M2 Ultra", "process")],
)
def test_memory_is_told_as_the_vendor_s_tools_tell_it(device, words):
    text = render_fit(fit(BuiltIn("mnist", None, None, None), find_device(device), confirm=False), Page())
    for word in words.split():
        assert word in text
    assert "nvidia" not in text


def test_several_devices_take_a_line_each():
    family = BuiltIn("mnist", None, None, None)
    text = render_fits([fit(family, device, confirm=False) for device in (T4, RTX_3060)], Page())
    assert re.search(r"^T4 .* yes ", text, re.M)
    assert "Largest" in text


def test_the_document_is_plain_json(too_large):
    document = json.loads(json.dumps(fit_to_document(too_large), allow_nan=False))
    assert document["schema"] == "whichgpu.fit/1"
    assert document["fits"] is False
    assert document["memory"]["margin_bytes"] < 0
    assert document["cheapest_change"] == document["changes"][0]["name"]
    held = document["timeline"]["holders"]
    assert max(map(sum, zip(*held.values(), strict=True))) <= document["memory"]["allocated_bytes"]


def test_pictures_are_whole_documents(too_large):
    import xml.etree.ElementTree as ElementTree

    picture = svg(too_large)
    root = ElementTree.fromstring(picture)
    assert root.tag.endswith("svg")
    assert "RTX 3060" in picture and "activations" in picture
    # The scale stands at round numbers.
    assert re.findall(r'text-anchor="end">([0-9.]+)</text>', picture) == ["0", "5", "10", "15", "20"]
    page = html(too_large)
    assert "Does not fit: needs" in page and "in 80 %" in page
    assert page.startswith("<!DOCTYPE html>") and picture in page
