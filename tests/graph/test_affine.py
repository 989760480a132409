import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.graph.jobs import linear_job
from whichgpu.errors import GraphError
from whichgpu.graph import Graph, Job, Op, Tensor, job_from_document, job_to_document
from whichgpu.graph.affine import evaluate, merge

numbers = st.integers(-(10**12), 10**12)


@given(st.lists(st.tuples(numbers, numbers), max_size=6), st.integers(1, 4096))
def test_two_captures_give_every_batch(lines: list[tuple[int, int]], batch: int) -> None:
    def at(b: int) -> dict[str, object]:
        return {"sizes": [fixed + slope * b for fixed, slope in lines], "name": "x", "flag": True, "scale": 0.5}

    template = json.loads(json.dumps(merge(at(11), 11, at(13), 13)))
    assert evaluate(template, batch) == at(batch)


def test_a_job_made_from_two_is_the_job_at_a_third() -> None:
    template = merge(job_to_document(linear_job(11)), 11, job_to_document(linear_job(13)), 13)
    assert job_from_document(evaluate(template, 256)) == linear_job(256)


@pytest.mark.parametrize(
    ("first", "second", "where"),
    [
        ({"a": 1}, {"b": 1}, r"\$ "),
        ([1], [1, 2], r"\$ "),
        ({"a": ["x"]}, {"a": ["y"]}, r"\$\.a\[0\]"),
        ({"a": [3]}, {"a": [4]}, r"\$\.a\[0\]"),
        ({"a": True}, {"a": False}, r"\$\.a"),
        ({"a": 1}, {"a": 1.0}, r"\$\.a"),
    ],
)
def test_what_is_not_affine_is_refused_with_its_place(first: object, second: object, where: str) -> None:
    with pytest.raises(GraphError, match="not affine in its batch: at " + where):
        merge(first, 11, second, 13)


def test_documents_of_two_batches_share_what_is_alike_at_both():
    def job(rows):
        wide, square = Tensor((rows, 4), "float32"), Tensor((4, 4), "float32")
        ops = (Op("aten.relu.default", {"self": wide}, (wide,)), Op("aten.relu.default", {"self": square}, (square,)))
        return Job("a", Graph(ops), rows, precision="fp32")

    two, four = job(2), job(4)
    with pytest.raises(GraphError, match="not affine"):
        merge(job_to_document(two), 2, job_to_document(four), 4)
    template = merge(job_to_document(two, four), 2, job_to_document(four, two), 4)
    assert job_from_document(evaluate(template, 9)).graph == job(9).graph
    other = replace(two, graph=Graph(two.graph.ops[:1]))
    with pytest.raises(GraphError, match="1 ops at the one batch and 2"):
        job_to_document(other, two)
    renamed = replace(two, graph=Graph((replace(two.graph.ops[0], name="aten.tanh.default"), two.graph.ops[1])))
    with pytest.raises(GraphError, match=r"tanh\.default at the one batch and aten\.relu\.default"):
        job_to_document(renamed, two)
