"""Looking up and scattering: reads whose places data decides are part of loops, additions to such places are not."""

from __future__ import annotations

from whichgpu.graph import Op, Tensor
from whichgpu.work.fusion.lowering import Lowering
from whichgpu.work.fusion.program import Expression, Node, Read, merged, picked
from whichgpu.work.fusion.rules import library, lowers

_FP32_BYTES = 4


@lowers("aten.embedding", "aten.index_select", "aten.gather", "aten.take", "aten.index", "aten._unsafe_index")
def lookup(build: Lowering, op: Op) -> None:
    """A table and indices -> what they point at, looked up by whoever reads it."""
    out = op.output()
    table = op.tensor("weight" if op.base_name == "aten.embedding" else "self")
    indices = [t for name in ("index", "indices") for t in op.tensors(name)]
    if any(t.dtype in ("bool", "uint8") for t in indices):
        library(build, op)
        return
    rows = picked(build.expression(table), out.numel, 0, "gather")
    build.bind(out, merged((rows, *(build.expression(t) for t in indices)), out.numel, out.dtype, length=3))


@lowers("aten.embedding_dense_backward")
def embedding_backward(build: Lowering, op: Op) -> None:
    """Gradient (v, d) of a table: zeros, then every row added to its place.

    Source: torch/_inductor/decomposition.py (embedding_dense_backward): sums in float32.
    """
    out = op.output()
    total = scattered(build, op.tensor("grad_output"), op.tensors("indices"), out.numel)
    build.bind(out, total if out.itemsize == _FP32_BYTES else build.program.found(total))


@lowers(
    "aten.index_add", "aten.index_add_", "aten.scatter_add", "aten.scatter_add_", "aten.index_put", "aten.index_put_"
)
def scatter(build: Lowering, op: Op) -> None:
    """(...) with rows added or put where indices point: a copy unless it is in place, then a kernel of its own."""
    out = op.output() if op.outputs else op.tensor("self")
    base, source = op.tensor("self"), op.tensor(next(n for n in ("source", "src", "values") if n in op.inputs))
    is_in_place = op.base_name.endswith("_")
    start = build.memory(base).buffer if is_in_place else build.write(build.expression(base), out.nbytes)
    indices = tuple(t for name in ("index", "indices") for t in op.tensors(name))
    build.bind(out, _added(build, start, source, indices, out.numel, out.itemsize))


def scattered(build: Lowering, source: Tensor, indices: tuple[Tensor, ...], numel: int) -> int:
    """Return the buffer of `numel` sums, in float32, of the elements of `source`, each added to where it belongs."""
    zeros = build.write(Expression(numel, "float32"), numel * _FP32_BYTES)
    return _added(build, zeros, source, indices, numel, _FP32_BYTES)


def _added(build: Lowering, start: int, source: Tensor, indices: tuple[Tensor, ...], numel: int, itemsize: int) -> int:
    value = merged([build.expression(t) for t in (source, *indices)], source.numel, source.dtype, float(source.numel))
    changed = float(source.numel * itemsize)
    result = build.program.new_buffer(numel, float(numel * itemsize))
    reads = (*value.reads, Read(start, changed, False, 0, "gather"))
    node = Node("scatter", source.numel, 1, reads, (result,), value.flops, value.dtype, build.op, changed=changed)
    build.program.add(node)
    return result
