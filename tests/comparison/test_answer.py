from dataclasses import replace

from tests.report.examples import offer, resnet50, row, without_epochs
from whichgpu.comparison.answer import answer
from whichgpu.comparison.cells import fit_call, range_text


def with_rows(*rows):
    return replace(resnet50(), rows=(resnet50().rows[0], *rows))


def test_the_cheapest_that_fits_and_the_fastest_are_named():
    cheapest, fastest, why = answer(resnet50())
    # The 3060 is cheaper but too small; nobody rents the B200.
    assert cheapest.startswith("Cheapest: a rented RTX 4090 (RunPod, $0.34/h), 17 min and $0.10 an epoch, 587x")
    assert "this CPU (6 d 20 h)" in cheapest
    assert fastest.startswith("Fastest: B200")
    assert "nobody rents it out" in fastest
    assert "on B200 the host cannot start kernels fast enough" in why


def test_one_that_is_both_is_said_once():
    first, *others = answer(with_rows(row("G", "G", 1.0, 0.9, 1.1, bound="compute", offer=offer("P", 1.0))))
    assert first.startswith("Cheapest and fastest: a rented G (P, $1.00/h)")
    assert len(others) == 1


def test_a_gpu_that_does_not_help_is_not_sold():
    slow = row("G", "G", 130.0, 120.0, 140.0, bound="host launch", offer=offer("P", 1.0))
    assert answer(with_rows(slow))[0].startswith("A GPU would not help: the fastest compared, G, takes")
    hardly = row("G", "G", 110.0, 100.0, 120.0, bound="host launch", offer=offer("P", 1.0))
    assert answer(with_rows(hardly))[0].startswith("A GPU would hardly help")


def test_gpus_too_small_are_not_recommended():
    small = row("G", "G", 1.0, 0.9, 1.1, bound="compute", offer=offer("P", 1.0), fits=False)
    assert answer(with_rows(small)) == (
        "No GPU here to train this on: it has too little memory for this batch. "
        "`whichgpu fit resnet50 --batch 256` tells what would make it fit.",
    )


def test_several_gpus_too_small_are_told_so():
    small = [row(name, name, 1.0, 0.9, 1.1, bound="compute", offer=offer("P", 1.0), fits=False) for name in ("G", "H")]
    assert answer(with_rows(*small))[0].startswith(
        "No GPU here to train this on: all 2 compared have too little memory for this batch."
    )


def test_without_gpus_only_the_cpu_is_spoken_of():
    assert answer(with_rows()) == ("This CPU takes 6 d 20 h an epoch. No GPU was compared.",)
    assert answer(replace(resnet50(), rows=(), reference=None)) == ("No GPU was compared.",)


def test_without_an_epoch_steps_are_spoken_of():
    assert answer(without_epochs())[0] == "Fastest: <L4> & co, 20.0 ms a step, 15x as fast as this CPU (300 ms)."


def test_of_several_as_fast_the_cheapest_is_named():
    dear = row("D", "Dear", 1.00, 0.9, 1.1, bound="host launch", offer=offer("P", 9.0))
    good = row("G", "Good", 1.04, 0.9, 1.1, bound="host launch", offer=offer("P", 2.0))
    slow = row("S", "Slow", 1.50, 1.4, 1.6, bound="compute", offer=offer("P", 0.5))
    cheapest, fastest, _ = answer(with_rows(dear, good, slow))
    assert cheapest.startswith("Cheapest: a rented Slow")
    assert fastest.startswith("Fastest: Good")
    assert fastest.endswith("(1 more is as fast within 5 %, none cheaper).")
    assert answer(with_rows(dear, good))[0].startswith("Cheapest and fastest: a rented Good")


def test_a_step_predicted_far_too_slow_where_it_was_measured_gives_no_verdict():
    slow = row("G", "G", 130.0, 120.0, 140.0, bound="host launch")
    (sentence,) = answer(replace(with_rows(slow), reference_off=40.0))
    assert sentence.startswith("Whether a GPU would help cannot be told: this CPU takes 1 min 58 s a step, predicted")
    assert answer(replace(with_rows(slow), reference_off=2.0))[0].startswith("A GPU would not help")


def test_the_command_that_tells_what_makes_it_fit_can_be_given():
    comparison = resnet50()
    assert fit_call(comparison, "T4") == 'whichgpu fit resnet50 --batch 256 --device "T4"'
    script = replace(comparison.job, name="train.py", options={"step_ends_with": "optimizer"})
    # What stands behind a script is the script's own.
    assert fit_call(replace(comparison, job=script), "T4") == 'whichgpu fit --device "T4" train.py with its arguments'
    module = replace(script, name="package.train")
    assert fit_call(replace(comparison, job=module)) == "whichgpu fit -m package.train with its arguments"


def test_a_crowded_machine_is_told_where_the_gain_is():
    rows = resnet50().rows
    crowded = replace(resnet50(), rows=(replace(rows[0], crowded=True), *rows[1:]))
    told = [sentence for sentence in answer(crowded) if sentence.startswith("Measured while other programs")]
    assert len(told) == 1 and not [s for s in answer(resnet50()) if s in told]


def test_a_single_step_has_no_range():
    assert range_text(row("G", "G", 0.2, 0.2, 0.2)) == "–"
    assert range_text(row("G", "G", 0.2, 0.1, 0.3)) == "100–300"
