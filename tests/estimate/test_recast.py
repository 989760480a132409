"""A step in another precision than it was captured in, against a capture in that precision."""

import pytest

from tests.estimate.jobs import Storage, cast, job, mm, tensor
from whichgpu.errors import PrecisionError
from whichgpu.estimate.recast import recast
from whichgpu.graph import PRECISIONS, Graph, Job, Op
from whichgpu.work import count_graph
from whichgpu.workloads import workload


@pytest.mark.parametrize("name", ["resnet50", "gpt2", "bert-base", "vit-b16"])
def test_float32_from_amp_is_nearly_what_capturing_in_float32_gives(name):
    graph, notes = recast(workload(name, batch=8, precision="amp-fp16"), PRECISIONS["fp32"])
    captured = workload(name, batch=8, precision="fp32").graph
    derived_work, captured_work = count_graph(graph), count_graph(captured)
    assert derived_work.flops == pytest.approx(captured_work.flops, rel=0.01)
    assert derived_work.bytes_moved == pytest.approx(captured_work.bytes_moved, rel=0.05)
    assert graph.peak_bytes() == pytest.approx(captured.peak_bytes(), rel=0.1)
    assert notes


def test_bfloat16_from_float16_is_what_capturing_gives_but_for_the_scaler():
    graph, notes = recast(workload("gpt2", precision="amp-fp16"), PRECISIONS["amp-bf16"])
    captured = count_graph(workload("gpt2", precision="amp-bf16").graph)
    assert count_graph(graph).flops == pytest.approx(captured.flops, rel=0.001)
    assert notes == ()


def test_tf32_is_the_float32_step():
    work = workload("resnet50", precision="fp32")
    assert recast(work, PRECISIONS["tf32"]) == (work.graph, ())


@pytest.mark.parametrize(("captured", "wanted"), [("fp32", "amp-fp16"), ("amp-fp16", "bf16"), ("tf32", "bf16")])
def test_what_cannot_be_derived_is_refused(captured, wanted):
    with pytest.raises(PrecisionError, match=f"captured in {captured}.*Capture it in {wanted}"):
        recast(job(mm(8, 8, 8), precision=captured), PRECISIONS[wanted])


def test_casts_vanish_and_lifetimes_move_with_the_ops_that_are_left():
    # A parameter (0) is cast to half (1), multiplied into a half result (2); both live on to the second product.
    ops = (
        cast("float32", "float16", 8, 8, source=0, result=1),
        Op(
            "aten.mm.default",
            {"self": tensor(8, 8, storage=1), "mat2": tensor(8, 8, storage=1)},
            (tensor(8, 8, storage=2),),
        ),
        mm(8, 8, 8),
    )
    storages = (Storage(256, "parameter"), Storage(128, "activation", 0, 2), Storage(128, "activation", 1, 3))
    graph, _ = recast(Job("tiny", Graph(ops, storages), 1, precision="amp-fp16"), PRECISIONS["fp32"])
    assert [op.name for op in graph.ops] == ["aten.mm.default", "aten.mm.default"]
    assert {t.dtype for op in graph.ops for t in op.output_tensors()} == {"float32"}
    assert [s.nbytes for s in graph.storages] == [256, 0, 256]
    assert [(s.allocated_at, s.freed_at) for s in graph.storages] == [(None, None), (0, 1), (0, 2)]
    assert graph.peak_bytes() == 512


def test_weights_that_autocast_keeps_whole_take_twice_the_memory():
    captured = workload("llama3-8b-lora")
    graph, notes = recast(captured, PRECISIONS["amp-fp16"])
    assert "Their memory is counted." in notes[0]
    for kind in ("parameter", "activation"):
        before, after = (sum(s.nbytes for s in g.storages if s.kind == kind) for g in (captured.graph, graph))
        assert after == pytest.approx(before * (2 if kind == "parameter" else 1), rel=0.02)
