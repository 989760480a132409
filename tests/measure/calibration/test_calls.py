"""Ops of the IR really called: on a CPU, against what torch computes by itself."""

import pytest

from whichgpu.graph import Op, Tensor
from whichgpu.measure.calibration import ops
from whichgpu.measure.calibration.probe import KernelProbe

torch = pytest.importorskip("torch")


@pytest.fixture
def prepare():
    from whichgpu.measure.calibration.calls import Operands

    return lambda *these, setup=(), below=None: Operands("cpu", below or {}).prepare(setup, these)


def test_a_call_returns_what_torch_does_and_is_described_as_it_was(prepare):
    op = ops.mm(Tensor((3, 4), "float32"), ops.transposed((4, 5), "float32"))
    called = prepare(op)
    called()
    (result,) = called.results
    call = called.calls[0]
    assert torch.equal(result, call.given["self"] @ call.given["mat2"])
    (found,) = called.ops()
    assert found.outputs == (Tensor((3, 5), "float32"),)
    assert found.tensor("mat2").stride == (1, 4)
    called.run_fast()()


def test_results_go_on_to_later_ops(prepare):
    first, second = ops.placeholder(0), ops.placeholder(1)
    x = Tensor((4, 4), "float32", storage=9)
    chain = (
        Op("aten.relu.default", {"self": x}, (first,)),
        Op("aten.add.Tensor", {"self": first, "other": x}, (second,)),
        Op("aten.neg.default", {"self": second}, ()),
    )
    called = prepare(*chain)
    called()
    source = called.calls[0].given["self"]
    assert torch.equal(called.results[-1], -(source.relu() + source))
    called.run_fast()()
    assert [op.base_name for op in called.ops()] == ["aten.relu", "aten.add", "aten.neg"]


def test_what_backward_needs_comes_from_forward(prepare):
    forward = ops.layer_norm(Tensor((6, 8), "float32"), "float32")
    setup, backward = ops.layer_norm_backward(forward)
    called = prepare(backward, setup=(setup,))
    called()
    given = called.calls[0].given
    assert given["mean"].shape == (6, 1)
    expected = torch.ops.aten.native_layer_norm(given["input"], [8], given["weight"], given["bias"], 1e-5)[0]
    assert expected.shape == given["grad_out"].shape
    assert [t.shape for t in called.results[0]] == [(6, 8), (8,), (8,)]


def test_a_gradient_by_the_weight_alone_is_that_alone(prepare):
    forward = ops.convolution(Tensor((2, 4, 6, 6), "float32"), Tensor((8, 4, 3, 3), "float32"), padding=1)
    setup, by_weight = ops.convolution_backward(forward, "weight")
    called = prepare(by_weight, setup=(setup,))
    called()
    (op,) = called.ops()
    assert [None if t is None else t.shape for t in op.outputs] == [None, (8, 4, 3, 3), None]
    assert op.tensor("grad_output").shape == (2, 8, 6, 6)


def test_memory_formats_are_kept(prepare):
    op = ops.convolution(
        ops.channels_last((2, 4, 6, 6), "float32"), ops.channels_last((8, 4, 3, 3), "float32"), padding=1
    )
    called = prepare(op)
    called()
    assert called.ops()[0].output().is_channels_last


def test_indices_stay_below_their_bound(prepare):
    table, indices = Tensor((5, 3), "float32"), Tensor((1000,), "int64")
    called = prepare(Op("aten.embedding.default", {"weight": table, "indices": indices}, ()), below={"indices": 5})
    called()
    assert called.calls[0].given["indices"].min() >= 0 and called.calls[0].given["indices"].max() == 4


def test_values_are_random_and_variances_positive(prepare):
    called = prepare(ops.batch_norm(Tensor((2, 4, 5, 5), "float32"), "native"))
    called()
    given = called.calls[0].given
    assert given["input"].std() > 0.5
    assert (given["running_var"] > 0).all()


def test_attributes_that_name_something_of_torchs_are_that(prepare):
    called = prepare(ops.unary("aten._to_copy.default", Tensor((4,), "float32"), dtype="float16"))
    called()
    assert called.ops()[0].output().dtype == "float16"


def test_an_operator_nobody_knows_fails(prepare):
    with pytest.raises(AttributeError):
        prepare(Op("aten.no_such_thing.default", {"self": Tensor((1,), "float32")}, ()))


def test_lists_of_tensors_are_lists(prepare):
    x = Tensor((2, 3), "float32")
    called = prepare(Op("aten.cat.default", {"tensors": (x, x)}, (), {"dim": 0}))
    called()
    (op,) = called.ops()
    assert op.output().shape == (4, 3)
    assert op.tensors("tensors") == (x, x)


def test_cold_operands_take_turns_through_more_than_the_cache():
    from whichgpu.measure.calibration.calls import Operands
    from whichgpu.measure.calibration.kernel_timing import KernelTimer
    from whichgpu.measure.calibration.power import PowerMeter
    from whichgpu.measure.calibration.timing import Clock

    timer = KernelTimer(Clock("cpu"), PowerMeter(), 2**20)
    op = ops.unary("aten.neg.default", Tensor((2**20,), "float32"))
    warm, cold = KernelProbe("warm", (op,)), KernelProbe("cold", (op,), cold=True)
    first = Operands("cpu", {}).prepare((), (op,))
    assert len(timer._sets(warm, first)) == 1
    sets = timer._sets(cold, first)
    assert sum(s.nbytes for s in sets) > 64 * 2**20
    assert len({s.calls[0].args[0].data_ptr() for s in sets}) == len(sets)
    record = timer.run("bandwidth", cold)
    assert (record.cold, record.timed) == (True, "clock")
    assert record.seconds > 0
