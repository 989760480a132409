"""Low-rank adapters: all weights frozen, two thin matrices trained beside each linear layer of the blocks."""

from __future__ import annotations

from dataclasses import dataclass, replace

from whichgpu.graph import Graph, Op, Storage, Tensor
from whichgpu.graph.rewrite import update_begins, without_ops

RANK = 16
_PRODUCTS = frozenset({"aten.mm", "aten.addmm"})
_VIEWS = frozenset({"aten.t", "aten.transpose", "aten._to_copy", "aten.view", "aten.permute"})
# Fewer linear layers inside of modules than this, and adapters are not what one would train.
_FEWEST_LAYERS = 8


@dataclass(frozen=True, slots=True)
class _Layer:
    """A linear layer as it runs: rows (n, inner) @ (inner, outer), first used at op `index`."""

    index: int
    rows: int
    inner: int
    outer: int
    dtype: str
    module: str


def linear_layers(graph: Graph) -> list[_Layer]:
    """Return the linear layers with weights of their own that run forward inside of numbered modules."""
    weights: dict[int, int] = {n: n for n, s in enumerate(graph.storages) if s.kind == "parameter"}
    found: dict[int, _Layer] = {}
    for index, op in enumerate(graph.ops):
        if op.phase != "forward":
            continue
        if op.base_name in _VIEWS and op.outputs and op.outputs[0] is not None:
            source, out = next(op.input_tensors()).storage, op.outputs[0].storage
            if source in weights and out is not None:
                weights[out] = weights[source]
        elif op.base_name in _PRODUCTS:
            rows, weight = op.tensor("mat1" if "mat1" in op.inputs else "self"), op.tensor("mat2")
            numbered = any(part.isdecimal() for part in op.module.split("."))
            if weight.storage in weights and numbered:
                found.setdefault(
                    weights[weight.storage],
                    _Layer(index, rows.shape[0], rows.shape[1], weight.shape[1], rows.dtype, op.module),
                )
    return list(found.values())


def takes_adapters(graph: Graph) -> bool:
    """Return whether `graph` is a model one would train adapters of: linear layers in blocks, no convolutions."""
    if any(op.base_name == "aten.convolution" and op.phase == "forward" for op in graph.ops):
        return False
    return len(linear_layers(graph)) >= _FEWEST_LAYERS


def adapted(graph: Graph, rank: int = RANK) -> Graph:
    """Return the step that trains adapters of `rank` on every linear layer of the blocks, by AdamW, weights frozen.

    The gradients of the weights, the products that make them, and their state are gone. Adapters are in the number
    format of the layer they stand beside, their state in float32. What each layer keeps for its weight's gradient it
    now keeps for its adapter's.

    Leaves out: dropout of adapters; copies of activations in float32, which peft makes where adapters are float32.
    """
    layers = linear_layers(graph)
    end = update_begins(graph)
    gradients = {n for n, s in enumerate(graph.storages) if s.kind == "gradient"}
    gone, dead = _products_of_gradients(graph, end, gradients)
    state = {n for n, s in enumerate(graph.storages) if s.kind == "optimizer_state"}
    made_by_update = {n for n, s in enumerate(graph.storages) if s.allocated_at is not None and s.allocated_at >= end}
    bare = without_ops(graph, [*gone, *range(end, len(graph.ops))], gradients | dead | state | made_by_update)
    place = {index: at for at, index in enumerate(i for i in range(end) if i not in set(gone))}
    storages = list(bare.storages)
    trained: list[Tensor] = []
    steps: list[Op] = []
    last = len(bare.ops)
    for layer in layers:
        size = 4 if layer.dtype == "float32" else 2
        for shape in ((layer.inner, rank), (rank, layer.outer)):
            tensor = Tensor(shape, layer.dtype, None, len(storages))
            nbytes = tensor.numel * size
            storages += [Storage(nbytes, "parameter"), Storage(nbytes, "gradient")]
            storages += [Storage(4 * tensor.numel, "optimizer_state")] * 2
            trained.append(tensor)
        # The rows between the two matrices, kept for the gradient of the second.
        storages.append(Storage(layer.rows * rank * size, "activation", place[layer.index], last))
        steps += _passes(layer, rank)

    def beside(place: int, dtype: str) -> tuple[Tensor, ...]:
        return tuple(Tensor(t.shape, dtype or t.dtype, None, (t.storage or 0) + place) for t in trained)

    update = Op(
        "aten._fused_adamw_.default",
        {
            "self": tuple(trained),
            "grads": beside(1, ""),
            "exp_avgs": beside(2, "float32"),
            "exp_avg_sqs": beside(3, "float32"),
        },
        (),
        {},
        "optimizer",
    )
    grown = tuple(
        s if s.freed_at is None or s.freed_at < last else replace(s, freed_at=last + len(steps) + 1) for s in storages
    )
    return replace(bare, ops=(*bare.ops, *steps, update), storages=grown)


def _products_of_gradients(graph: Graph, end: int, gradients: set[int]) -> tuple[list[int], set[int]]:
    """Return the ops of the backward pass that serve nothing but gradients of weights, and the storages they made."""
    needed: set[int] = set()
    gone: list[int] = []
    dead: set[int] = set()
    for index in range(end - 1, -1, -1):
        op = graph.ops[index]
        if op.phase != "backward":
            break
        made = {t.storage for t in op.output_tensors() if t.storage is not None}
        fresh = {n for n in made if graph.storages[n].allocated_at == index}
        serves = {n for n in made if n in needed}
        if made and not serves and all(n in gradients or n in fresh or n in dead for n in made):
            gone.append(index)
            dead |= fresh
            continue
        needed |= {t.storage for t in op.input_tensors() if t.storage is not None}
    return sorted(gone), dead - gradients


def _passes(layer: _Layer, rank: int) -> list[Op]:
    """Return the products of one adapter, forward and backward, on tensors of no storage: they are priced, no more."""
    rows = Tensor((layer.rows, layer.inner), layer.dtype)
    down = Tensor((layer.inner, rank), layer.dtype)
    thin = Tensor((layer.rows, rank), layer.dtype)
    up = Tensor((rank, layer.outer), layer.dtype)
    out = Tensor((layer.rows, layer.outer), layer.dtype)

    def product(left: Tensor, right: Tensor, phase: str) -> Op:
        result = Tensor((left.shape[0], right.shape[1]), layer.dtype)
        return Op("aten.mm.default", {"self": left, "mat2": right}, (result,), {}, phase, layer.module)  # type: ignore[arg-type]

    def turned(tensor: Tensor) -> Tensor:
        return Tensor((tensor.shape[1], tensor.shape[0]), layer.dtype, (1, tensor.shape[1]))

    add = Op("aten.add_.Tensor", {"self": out, "other": out}, (out,), {}, "forward", layer.module)
    return [
        product(rows, down, "forward"),
        product(thin, up, "forward"),
        add,
        product(out, turned(up), "backward"),
        product(turned(thin), out, "backward"),
        product(thin, turned(down), "backward"),
        product(turned(rows), thin, "backward"),
        replace(add, inputs={"self": rows, "other": rows}, outputs=(rows,), phase="backward"),
    ]
