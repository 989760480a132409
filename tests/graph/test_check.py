import dataclasses
from typing import Any

import pytest

from tests.graph.jobs import linear_job
from whichgpu.errors import GraphError, UnknownNameError
from whichgpu.graph import Graph, Op, Storage, Tensor, check


def with_op(index: int, **changes: Any) -> Graph:
    graph = linear_job().graph
    ops = list(graph.ops)
    ops[index] = dataclasses.replace(ops[index], **changes)
    return dataclasses.replace(graph, ops=tuple(ops))


def with_storage(index: int, **changes: Any) -> Graph:
    graph = linear_job().graph
    storages = list(graph.storages)
    storages[index] = dataclasses.replace(storages[index], **changes)
    return dataclasses.replace(graph, storages=tuple(storages))


def test_a_sound_job_passes() -> None:
    check(linear_job())


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (Graph(()), "no ops"),
        (dataclasses.replace(linear_job().graph, mode="lazy"), "'lazy'"),
        (with_op(0, name="mm"), "op 0"),
        (with_op(0, phase="sideways"), "'sideways'"),
        (with_op(0, repeat=0), "repeat is 0"),
        (with_op(1, outputs=(Tensor((2, -1), "float32"),)), r"op 1 \(aten.mm.default\), output 0.*negative"),
        (with_op(1, inputs={"self": Tensor((2,), "float33")}), "input 'self'.*float33"),
        (with_op(1, inputs={"self": (None, Tensor((2,), "int8", (1, 1)))}), "2 strides for 1"),
        (with_op(1, inputs={"self": (None, Tensor((2,), "int8", (-1,)))}), "negative in places"),
        (with_op(1, inputs={"self": (None, Tensor((2**40, 2**30), "int8"))}), "more bytes than"),
        (with_op(1, outputs=(Tensor((2,), "int8", None, 9),)), "storage 9 does not exist"),
        (with_op(1, outputs=(Tensor((2,), "int8", None, -1),)), "storage -1 does not exist"),
        (with_storage(3, allocated_at=2), "storage 3 is used before op 2"),
        (with_storage(0, freed_at=2), "storage 0 is used after it was freed at op 2"),
        (with_storage(0, nbytes=-1), "-1 bytes"),
        (with_storage(0, kind="mystery"), "mystery"),
        (with_storage(2, allocated_at=3, freed_at=1), "allocated at op 3, freed at op 1"),
        (with_storage(2, freed_at=99), "freed at op 99"),
    ],
)
def test_each_rule_names_what_breaks_it(graph: Graph, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        check(dataclasses.replace(linear_job(), graph=graph))


@pytest.mark.parametrize("changes", [{"samples_per_step": 0}, {"samples_per_epoch": 0}])
def test_counts_are_positive(changes: dict[str, Any]) -> None:
    with pytest.raises(GraphError, match="expected 1 or more"):
        check(dataclasses.replace(linear_job(), **changes))


def test_precision_must_be_known() -> None:
    with pytest.raises(UnknownNameError, match="fp33"):
        check(dataclasses.replace(linear_job(), precision="fp33"))


def test_live_bytes_follow_allocations_and_frees() -> None:
    # Resident: 48 + 60. Op 0 makes 80 that die before op 4 (never, there are 4 ops), op 1 makes 60 that stay.
    assert list(linear_job().graph.live_bytes()) == [188, 248, 248, 248]
    graph = Graph(
        tuple(Op("aten.relu.default", {}, ()) for _ in range(3)), (Storage(5, "buffer"), Storage(7, "activation", 0, 1))
    )
    assert list(graph.live_bytes()) == [12, 5, 5]
    assert graph.peak_bytes() == 12
    assert graph.resident_bytes() == 5
