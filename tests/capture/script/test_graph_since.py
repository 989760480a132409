"""The end of a graph as a graph of its own."""

from whichgpu.capture.script.graph_since import graph_since
from whichgpu.graph import Graph, Job, Op, Storage, Tensor, check


def square(storage):
    return Tensor((4, 4), "float32", storage=storage)


def op(name, source, *results):
    return Op(
        f"aten.{name}.default", {"self": square(source), "list": (None, square(source))}, tuple(map(square, results))
    )


GRAPH = Graph(
    (op("relu", 0, 1), op("exp", 1, 2), op("mm", 3, 4), op("add", 2, 5)),
    (
        Storage(64, "parameter"),
        Storage(64, "activation", 0, 2),
        Storage(32, "activation", 1, 4),
        Storage(16, "input"),
        Storage(64, "activation", 2),
        Storage(64, "gradient", 3, 4),
    ),
)


def test_what_lives_at_its_beginning_is_there_from_the_start():
    end = graph_since(GRAPH, 2)
    check(Job("end", end, 1))
    assert [o.base_name for o in end.ops] == ["aten.mm", "aten.add"]
    assert end.storages == (
        Storage(64, "parameter"),
        Storage(32, "buffer", None, 2),
        Storage(16, "input"),
        Storage(64, "activation", 0),
        Storage(64, "gradient", 1, 2),
    )
    assert [t.storage for o in end.ops for t in (*o.input_tensors(), *o.output_tensors())] == [2, 2, 3, 1, 1, 4]
    assert list(end.live_bytes()) == list(GRAPH.live_bytes())[2:]


def test_from_its_beginning_it_is_the_graph():
    assert graph_since(GRAPH, 0) is GRAPH
