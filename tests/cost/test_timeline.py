"""Host and device between waits, worked out by hand: ops of 10 us on the host, kernels of 1 or 100 us."""

import pytest

from tests.cost.examples import DEVICE, elementwise, ideal
from whichgpu.cost.kernel_table import KernelTable
from whichgpu.cost.roofline import price_table
from whichgpu.graph import precision
from whichgpu.work import Work
from whichgpu.work.count import ENTER, REPLAY, GraphWork, OpCount

HOST = ideal(host={"op_us": 10.0, "launch_us": 5.0, "view_us": 2.0, "synchronization_us": 30.0})
# 1e6 elements read and written in float32: 8 MB at 1 TB/s, 8 us; a hundredth of that and a hundred times as much.
SMALL, LARGE = elementwise(125_000), elementwise(12_500_000)


def step(*calls, efficiencies=HOST):
    """Return what a step of `calls` takes: "s" small, "l" large, "v" a view, "w" a small one that waits."""
    works = {
        "s": Work((SMALL,)),
        "l": Work((LARGE,)),
        "v": Work(),
        "w": Work((SMALL,), synchronizes=True),
        "c": Work((SMALL,)),
    }
    order = "".join(calls).replace("e", "")
    names = sorted(set(order))
    counts = tuple(OpCount(None, works[n], order.count(n), compiled=n == "c") for n in names)
    places = tuple(ENTER if n == "e" else names.index(n) for n in "".join(calls))
    return price_table(KernelTable.of(GraphWork(counts, places)), DEVICE, precision("fp32"), efficiencies)


def test_order_does_not_matter_where_the_host_never_waits():
    assert step("slslss").timeline_s is None
    assert step("slslss").step_s == step("ssssll").step_s


def test_each_wait_lets_the_device_fall_idle():
    # Each pair is issued in 20 us and ends 1 us after; then the host wakes up: 10 x (21 + 30) us.
    assert step("sw" * 10).step_s == pytest.approx(510e-6, rel=1e-3)


def test_a_wait_after_much_work_costs_the_start_of_the_next_stretch():
    # The device begins after 10 us, runs 301, and the host sees it 30 us later.
    assert step("lllw").step_s == pytest.approx(341e-6, rel=1e-3)


def test_work_that_comes_last_cannot_hide_what_the_host_issues_before_it():
    # The large one is issued after 50 us, and the last small one runs after it: 50 + 100 + 1 + 30 us.
    assert step("ssssl", "w").step_s == pytest.approx(181e-6, rel=1e-3)
    # Issued first it hides the others: 10 + 100 + 5 x 1 + 30 us.
    assert step("lssssw").step_s == pytest.approx(145e-6, rel=1e-2)


def test_what_follows_the_last_wait_runs_before_the_first_of_the_next_step():
    assert step("swl").step_s == pytest.approx(step("lsw").step_s)


def test_views_and_compiled_code_take_the_host_their_own_time():
    compiled = ideal(host={"compiled_launch_us": 5.0, "compiled_call_us": 40.0, "view_us": 2.0, "op_us": 10.0})
    # 40 for the call, 3 x 5 to launch, 2 for the view and 10 for the wait's own op; its kernel takes 1 us after that.
    assert step("eccc", "v", "w", efficiencies=compiled).step_s == pytest.approx(68e-6, rel=1e-2)


def test_a_step_takes_no_less_than_either_timeline():
    for calls in ("sw", "lw", "slsw", "lslswllw", "wwww"):
        found = step(calls)
        assert found.step_s >= max(found.host_s, found.device_s)


def test_the_host_starts_a_cuda_graph_and_none_of_its_kernels():
    host = ideal(host={"op_us": 10.0, "graph_launch_us": 7.0, "synchronization_us": 30.0})
    counts = (
        OpCount(None, Work((SMALL,)), 100, replayed=True),
        OpCount(None, Work((SMALL,), synchronizes=True), 1),
    )

    def priced(*order):
        table = KernelTable.of(GraphWork(counts, order))
        return price_table(table, DEVICE, precision("fp32"), host)

    # 100 kernels of 1 us each after 7 us, then one that waits: 7 + 101 + 30 us.
    assert priced(REPLAY, *[0] * 100, 1).step_s == pytest.approx(138e-6, rel=1e-2)
    assert priced(REPLAY, *[0] * 100, 1).host_s == pytest.approx(47e-6)
