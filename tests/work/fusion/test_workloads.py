"""What must hold of every job when it is compiled."""

from dataclasses import replace

import pytest

from whichgpu.graph import Graph, Op, Tensor
from whichgpu.graph.rewrite import update_begins
from whichgpu.work import MATRIX_KINDS, count_graph
from whichgpu.workloads import workload, workload_names

NAMES = [n for n in workload_names() if n not in ("mnist", "lstm")]


def compiled_and_eager(name):
    graph = workload(name).graph
    return count_graph(graph), count_graph(replace(graph, mode="fused"))


@pytest.fixture(scope="module", params=NAMES)
def both(request):
    return compiled_and_eager(request.param)


def matrix_flops(work):
    return sum(kernel.flops * calls for kernel, calls in work.kernels() if kernel.kind in MATRIX_KINDS)


@pytest.mark.parametrize("name", [n for n in NAMES if "llama" not in n])
def test_products_and_convolutions_stay_what_they_are(name):
    eager, compiled = compiled_and_eager(name)
    assert matrix_flops(compiled) == pytest.approx(matrix_flops(eager), rel=1e-9)


def test_what_a_checkpoint_computes_again_for_nobody_is_left_out():
    # The last product of every block's second forward pass: one of 4 (one more for each of 3 inputs' gradients there).
    eager, compiled = compiled_and_eager("llama3-8b-lora")
    assert 0.9 * matrix_flops(eager) < matrix_flops(compiled) < matrix_flops(eager)


def test_kernels_move_fewer_bytes(both):
    eager, compiled = both
    assert compiled.bytes_moved < 0.95 * eager.bytes_moved
    # Everything that is needed is still read at least once.
    assert compiled.bytes_moved > 0.2 * eager.bytes_moved


def test_the_host_calls_little_but_launches(both):
    eager, compiled = both
    # Forward and backward; reading a mask back parts a forward pass in two. There may be more kernels than before:
    # cuDNN has one for a batch norm, a compiler makes three.
    assert compiled.compiled_calls in (2, 3)
    assert compiled.host_calls < 0.05 * eager.host_calls
    assert compiled.compiled_launches > 0.9 * (compiled.launches - 100)


def test_nothing_is_called_unknown_that_was_not(both):
    eager, compiled = both
    assert {c.op.base_name for c in compiled.bounded} == {c.op.base_name for c in eager.bounded}


def test_optimizer_stays_eager(both):
    eager, compiled = both

    def updates(work):
        return sum(c.calls for c in work.counts if c.op.phase == "optimizer")

    assert updates(compiled) == updates(eager)
    assert not any(c.compiled for c in compiled.counts if c.op.phase == "optimizer")


def test_recurrent_layers_stay_eager():
    compiled = count_graph(replace(workload("lstm").graph, mode="fused"))
    rnn = [c for c in compiled.counts if "_cudnn_rnn" in c.op.base_name]
    assert rnn
    assert not any(c.compiled for c in rnn)


def test_a_graph_that_knows_no_storages_is_compiled_op_by_op():
    x = Tensor((64, 64), "float32")
    ops = tuple(Op(f"aten.{name}.default", {"self": x}, (x,)) for name in ("relu", "sigmoid"))
    compiled = count_graph(Graph(ops, mode="fused"))
    assert compiled.flops <= count_graph(Graph(ops)).flops


def test_repeated_ops_count_as_often_as_they_run():
    x, y = Tensor((1024,), "float32", None, 0), Tensor((1024,), "float32", None, 1)
    graph = Graph((Op("aten.relu.default", {"self": x}, (y,), repeat=7),), mode="fused")
    assert count_graph(graph).launches == 7


def test_micro_batches_are_compiled_once():
    graph = workload("bert-base", batch=2).graph
    end = update_begins(graph)
    twice = replace(graph, ops=(*graph.ops[:end], *graph.ops), mode="fused")
    one, both = count_graph(replace(graph, mode="fused")), count_graph(twice)
    assert both.compiled_calls == 2 * one.compiled_calls
    # The first pass keeps some more for the second one, which overwrites it.
    assert both.compiled_ops < 1.2 * one.compiled_ops
