"""A job is captured once and priced at any batch."""

from dataclasses import replace
from importlib.util import find_spec

import pytest

from tests.validation.conftest import BERT, COMMON, MEDIANS, TIMM
from whichgpu.errors import CaptureError
from whichgpu.validation import Traces, load_rows
from whichgpu.work import count_graph

pytestmark = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("traces")


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    infer = TIMM.replace("train", "infer").replace("sgd(momentum=0.9)", "")
    newer = infer.replace("1.12", "2.4.0")
    none = infer.replace("resnet18", "no_such_model")
    path.write_text("\n".join([COMMON, TIMM, TIMM.replace("256", "32"), infer, newer, none]) + "\n")
    return list(load_rows([path]))


def test_jobs_are_captured_once_and_evaluated_at_any_batch(folder, cases):
    train, smaller, infer, newer, none = cases
    traces = Traces(folder)
    with pytest.raises(CaptureError, match="not been captured"):
        traces.job(train)
    told = []
    # Training; inference of torch 1, which without attention is that of torch 2; no such model.
    assert traces.capture_missing(cases, 1, lambda *a: told.append(a)) == len(told)
    assert Traces(folder).capture_missing(cases, 1) == 0
    large, small = (count_graph(traces.job(c).graph, "refuse") for c in (train, smaller))
    # 1.81 GMACs an image forward at 224 (torchvision's table), as much again twice for the gradients.
    assert large.flops == pytest.approx(256 * 3 * 2 * 1.81e9, rel=0.04)
    assert large.flops / small.flops == pytest.approx(8, rel=0.02)
    forward = count_graph(traces.job(infer).graph)
    assert forward.flops == pytest.approx(256 * 2 * 1.81e9, rel=0.02)
    assert forward.flops == count_graph(traces.job(newer).graph).flops
    assert {op.phase for op in traces.job(infer).graph.ops} == {"forward"}
    with pytest.raises(CaptureError, match="no model of that name"):
        traces.job(none)


def test_a_compiled_row_is_a_fused_step(folder, cases):
    traces = Traces(folder)
    traces.capture_missing(cases[2:3], 1)
    assert traces.job(replace(cases[2], compiled=True)).graph.mode == "fused"


def test_half_precision_with_master_weights(folder, tmp_path):
    path = tmp_path / "rows.csv"
    half = BERT.replace("bert_large_squad,tf32", "bert_base_squad,amp-fp16")
    path.write_text(f"{MEDIANS}\n{half}\n")
    (case,) = load_rows([path])
    traces = Traces(folder)
    traces.capture_missing([case], 1)
    job = traces.job(case)
    products = [op for op in job.graph.ops if op.base_name == "aten.addmm"]
    assert {op.output().dtype for op in products} == {"float16"}
    updates = [op for op in job.graph.ops if op.phase == "optimizer" and op.base_name == "aten._foreach_addcdiv_"]
    assert updates and {t.dtype for op in updates for t in op.tensors("self")} == {"float32"}
