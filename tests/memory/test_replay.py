"""Steps written by hand, replayed: what is there when, what is handed on, where the peak lies."""

import pytest

from whichgpu.errors import GraphError
from whichgpu.graph import Graph, Op, Storage, Tensor
from whichgpu.memory.allocator import OutOfDeviceMemory
from whichgpu.memory.holders import group_of, holders_at, modules_at, timeline
from whichgpu.memory.replay import replay
from whichgpu.memory.scratch import NO_WORKSPACES, Workspaces

MIB = 1024**2


def op(phase, *storages, module=""):
    inputs = tuple(Tensor((1,), "float32", None, s) for s in storages)
    return Op("aten.thing.default", {"tensors": inputs}, (), {}, phase, module)


def training_step(activation=100 * MIB, weight=20 * MIB):
    """Clear gradients, forward, backward, update: as a capture writes it down.

    0 weight, 1 state, 2 the last step's gradient, 3 activation, 4 this step's gradient, 5 temporary of the update.
    """
    ops = (op("forward", 0, module="layers.0.mlp"), op("backward", 0, 3), op("optimizer", 0, 1, 4))
    storages = (
        Storage(weight, "parameter"),
        Storage(2 * weight, "optimizer_state"),
        Storage(weight, "gradient", None, 0),
        Storage(activation, "activation", 0, 2),
        Storage(weight, "gradient", 1, None),
        Storage(weight, "activation", 2, 3),
    )
    return Graph(ops, storages)


def test_a_steady_step_holds_what_it_should():
    found = replay(training_step())
    # Backward: weight 20, state 40, activation 100, gradient 20.
    assert found.allocated_bytes == 180 * MIB
    assert (found.peak_op, found.phase_bytes) == (
        1,
        {"forward": 160 * MIB, "backward": 180 * MIB, "optimizer": 100 * MIB},
    )


def test_the_state_lies_in_the_gap_that_the_first_step_s_activation_left():
    # First step: weight 20, activation 100, gradient 20 reserve 140. Activation freed; the state's 40 and the update's
    # 20 are cut from it. The second step's activation finds 60 of that free and needs 100 more: 240, of which 180 used.
    found = replay(training_step())
    assert found.reserved_bytes == 240 * MIB


def test_the_old_gradient_is_dropped_and_the_new_one_takes_its_place():
    # Without handing gradients over each step would leave 20 MiB behind.
    graph = training_step()
    assert replay(graph).allocated_bytes == replay(graph).allocated_bytes == 180 * MIB


def test_what_outlives_a_step_and_nothing_replaces_is_dropped_with_the_step():
    graph = training_step()
    kept = Graph(graph.ops, (*graph.storages, Storage(7 * MIB, "activation", 0, None)))
    assert replay(kept).allocated_bytes == 187 * MIB


def test_workspaces_count_while_the_op_runs_and_those_kept_for_good():
    plain = replay(training_step())
    needed = replay(training_step(), Workspaces({1: 30 * MIB}, {}, {}))
    assert needed.allocated_bytes == plain.allocated_bytes + 30 * MIB
    kept = replay(training_step(), Workspaces({}, {}, {0: 8 * MIB}))
    assert kept.allocated_bytes == plain.allocated_bytes + 8 * MIB
    assert kept.phase_bytes["optimizer"] == plain.phase_bytes["optimizer"] + 8 * MIB


def test_where_there_is_no_room_an_op_makes_do_without_the_workspace_it_wanted():
    wanted = Workspaces({}, {1: 500 * MIB}, {})
    assert replay(training_step(), wanted, limit_bytes=260 * MIB).allocated_bytes == 180 * MIB
    with pytest.raises(OutOfDeviceMemory):
        replay(training_step(), Workspaces({1: 500 * MIB}, {}, {}), limit_bytes=260 * MIB)


def test_a_limit_below_what_is_allocated_cannot_be_met():
    replay(training_step(), limit_bytes=240 * MIB)
    with pytest.raises(OutOfDeviceMemory):
        replay(training_step(), limit_bytes=179 * MIB)


def test_without_lifetimes_it_says_how_to_capture_again():
    with pytest.raises(GraphError, match="whichgpu capture"):
        replay(Graph((op("forward"),)))


def test_holders_and_modules_at_the_peak():
    graph = training_step()
    assert holders_at(graph, NO_WORKSPACES, 1) == {
        "parameters": 20 * MIB,
        "optimizer state": 40 * MIB,
        "input and buffers": 0,
        "gradients": 20 * MIB,
        "activations": 100 * MIB,
        "temporaries": 0,
    }
    assert modules_at(graph, 1) == [("layers.*.mlp", 100 * MIB)]
    assert holders_at(graph, NO_WORKSPACES, 2)["temporaries"] == 20 * MIB


def test_the_timeline_is_the_sum_of_holders_at_every_op():
    graph = training_step()
    beside = Workspaces({1: MIB}, {2: 2 * MIB}, {0: 8 * MIB})
    line = timeline(graph, beside)
    for index in range(3):
        assert line.total(index) == sum(holders_at(graph, beside, index).values())
    assert line.phases == (("forward", 0), ("backward", 1), ("optimizer", 2))


@pytest.mark.parametrize(
    ("module", "group"),
    [
        ("", ""),
        ("lm_head", "lm_head"),
        ("model.layers.11.mlp.gate_proj", "model.layers.*.mlp"),
        ("encoder.stages.2.layers.0.conv", "encoder.stages.*.layers"),
        ("0.1.2", "*.*.*"),
    ],
)
def test_modules_in_a_row_are_one_group(module, group):
    assert group_of(module) == group
