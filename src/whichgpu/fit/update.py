"""The update of the weights done otherwise: by one fused kernel, with state in eight bits, with state on the host."""

from __future__ import annotations

from dataclasses import dataclass, replace

from whichgpu.graph import Graph, Op, Storage, Tensor
from whichgpu.graph.rewrite import update_begins, without_ops

# bitsandbytes keeps state in eight bits, with one float32 scale for each block of 256; small tensors stay float32.
# Source: bitsandbytes/optim/optimizer.py and functional.py, 0.45 to 0.48 (min_8bit_size, blocksize).
_SMALLEST_8BIT = 4096
_BLOCK = 256
# The two tables that turn eight bits into numbers, 256 float32 each.
_TABLES_BYTES = 2 * 256 * 4


@dataclass(frozen=True, slots=True)
class Update:
    """What the last phase of a step works on.

    Attributes:
        begins: Index of its first op that touches state or weights.
        ends: Index after its last such op.
        parameters: Tensors it writes.
        gradients: Those it reads, in the same order.
        state: The optimizer's tensors of a parameter's size, kind by kind.
        is_fused: Whether it is one kernel already.
    """

    begins: int
    ends: int
    parameters: tuple[Tensor, ...]
    gradients: tuple[Tensor, ...]
    state: tuple[Tensor, ...]
    is_fused: bool

    @property
    def kinds(self) -> int:
        """How many tensors of state each parameter has: 2 for Adam, 1 for momentum; 0 if they do not match."""
        whole, rest = divmod(len(self.state), len(self.parameters)) if self.parameters else (0, 1)
        return 0 if rest else whole

    @property
    def fused_name(self) -> str:
        """The fused operator of torch for such an optimizer; "" if there is none."""
        return {1: "aten._fused_sgd_.default", 2: "aten._fused_adamw_.default"}.get(self.kinds, "")


def update_of(graph: Graph) -> Update | None:
    """Return the update of `graph`; None if its optimizer keeps no state."""
    touching: list[int] = []
    found: dict[str, dict[int, Tensor]] = {"parameter": {}, "gradient": {}, "optimizer_state": {}}
    is_fused = False
    for index in range(update_begins(graph), len(graph.ops)):
        op = graph.ops[index]
        kinds = set()
        for tensor in (*op.input_tensors(), *op.output_tensors()):
            if tensor.storage is not None:
                kind = graph.storages[tensor.storage].kind
                kinds.add(kind)
                if kind in found:
                    found[kind].setdefault(tensor.storage, tensor)
        if kinds & {"parameter", "optimizer_state"}:
            touching.append(index)
            is_fused = is_fused or "_fused_" in op.name
    state = [t for t in found["optimizer_state"].values() if t.numel > 1]
    if not touching or not state:
        return None
    # Clipping reads gradients before the update does; those of parameters are as many and as large.
    parameters = tuple(found["parameter"].values())
    gradients = tuple(found["gradient"].values())[: len(parameters)]
    return Update(touching[0], touching[-1] + 1, parameters, gradients, tuple(state), is_fused)


def fused(graph: Graph, update: Update) -> Graph:
    """Return `graph` with its update done by one fused operator, which needs no temporaries."""
    return _with_one_op(graph, update, {})


def one_by_one(graph: Graph, update: Update) -> Graph:
    """Return `graph` with its update done tensor by tensor: temporaries of one tensor at a time, a launch for each."""
    ops = list(graph.ops[: update.begins])
    for op in graph.ops[update.begins : update.ends]:
        ops += _single_ops(op)
    largest: dict[int, int] = {}
    temporary = _temporaries(graph, update)
    for number in temporary:
        made = graph.storages[number].allocated_at or 0
        if made not in largest or graph.storages[number].nbytes > graph.storages[largest[made]].nbytes:
            largest[made] = number
    grown = len(ops) - update.ends
    storages = []
    for number, storage in enumerate(graph.storages):
        if number in temporary:
            # Alive from the first operator of the update to its last: as if it belonged to the largest tensor's turn.
            nbytes = storage.nbytes if number in largest.values() else 0
            storages.append(Storage(nbytes, storage.kind, update.begins, update.ends + grown))
        else:
            ends = storage.freed_at
            storages.append(replace(storage, freed_at=ends if ends is None or ends < update.ends else ends + grown))
    return replace(graph, ops=(*ops, *graph.ops[update.ends :]), storages=tuple(storages))


def _single_ops(op: Op) -> list[Op]:
    """Return the operators on single tensors that one on lists stands for; itself where it is on none."""
    lists = {name: value for name, value in op.inputs.items() if isinstance(value, tuple)}
    if not op.base_name.startswith("aten._foreach_") or not lists:
        return [op]
    name = f"aten.{op.base_name.removeprefix('aten._foreach_')}.default"
    count = len(next(iter(lists.values())))
    found = []
    for index in range(count):
        inputs = {}
        for key, value in op.inputs.items():
            tensor = value[index] if isinstance(value, tuple) and index < len(value) else value
            if isinstance(tensor, Tensor):
                inputs[key] = replace(tensor, storage=None)
        first = next(iter(inputs.values()))
        found.append(Op(name, dict(inputs), (first,), op.attributes, op.phase, op.module))
    return found


def in_eight_bits(graph: Graph, update: Update) -> Graph:
    """Return `graph` with the optimizer's state in eight bits, updated block by block without temporaries."""
    smaller = {
        t.storage: replace(t, dtype="uint8")
        for t in update.state
        if t.storage is not None and t.dtype == "float32" and t.numel >= _SMALLEST_8BIT
    }
    storages = list(graph.storages)
    for number, tensor in smaller.items():
        storages[number] = replace(storages[number], nbytes=eight_bit_bytes(tensor.numel))
    if smaller:
        storages.append(Storage(_TABLES_BYTES, "optimizer_state"))
    return _with_one_op(replace(graph, storages=tuple(storages)), update, smaller)


def eight_bit_bytes(numel: int) -> int:
    """Return the bytes of one tensor of eight-bit state with its scales."""
    return numel + 4 * -(-numel // _BLOCK)


def on_the_host(graph: Graph, update: Update) -> Graph:
    """Return `graph` with the optimizer's state and its update on the host; only the weights come back."""
    state = {t.storage for t in update.state if t.storage is not None}
    return _without_update(graph, update, state)


def _with_one_op(graph: Graph, update: Update, instead: dict[int, Tensor]) -> Graph:
    bare = _without_update(graph, update, set())
    kinds = range(update.kinds)
    lists = [tuple(instead.get(_number(t), t) for t in update.state[k :: len(kinds)]) for k in kinds]
    names = ("momentum_buffer_list",) if update.kinds == 1 else ("exp_avgs", "exp_avg_sqs")
    inputs = {"self": update.parameters, "grads": update.gradients, **dict(zip(names, lists, strict=True))}
    op = Op(update.fused_name, inputs, (), {}, "optimizer")
    # It stands at the end, where everything the step leaves is still there.
    storages = tuple(
        s if s.freed_at is None or s.freed_at < len(bare.ops) else replace(s, freed_at=s.freed_at + 1)
        for s in bare.storages
    )
    return replace(bare, ops=(*bare.ops, op), storages=storages)


def _without_update(graph: Graph, update: Update, gone: set[int]) -> Graph:
    return without_ops(graph, range(update.begins, update.ends), _temporaries(graph, update) | gone)


def _temporaries(graph: Graph, update: Update) -> set[int]:
    """Return the storages that an update makes and drops."""
    return {
        number
        for number, s in enumerate(graph.storages)
        if s.allocated_at is not None
        and s.allocated_at >= update.begins
        and s.freed_at is not None
        and s.freed_at <= update.ends
    }


def _number(tensor: Tensor) -> int:
    return -1 if tensor.storage is None else tensor.storage
