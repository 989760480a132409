"""Ops whose addresses come from data: embeddings, indexing, scattering, sorting."""

from __future__ import annotations

from whichgpu.graph import Op
from whichgpu.work.kernel import Kernel, Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import bytes_written, streaming, working_dtype


def _index_bytes(op: Op) -> float:
    return float(sum(t.nbytes for name in ("indices", "index", "mask") for t in op.tensors(name)))


@counts("aten.embedding", "aten.index_select", "aten.gather", "aten.index", "aten.take", "aten.masked_select")
def gather(op: Op) -> Work:
    """Rows or elements picked out of a tensor.

    Counts: the indices read, the picked elements read and written once.
    Leaves out: elements of a row of memory that are fetched and not used; finding the true elements of a mask.
    Source: ATen/native/cuda/Indexing.cu.
    """
    written = bytes_written(op)
    return streaming(op, "gather", read=_index_bytes(op) + written)


@counts("aten.embedding_dense_backward")
def embedding_backward(op: Op) -> Work:
    """Gradient of the table (v, d) from that of the rows (*n, d).

    Counts: the table's gradient filled with zeros; the indices sorted (four launches over 8 bytes an index, some ten
    passes); the rows read and added, one FLOP an element.
    Leaves out: nothing of note.
    Source: ATen/native/cuda/Embedding.cu (embedding_dense_backward_cuda, by sorting).
    """
    grad, indices, table = op.tensor("grad_output"), op.tensor("indices"), op.output()
    fill = Kernel("elementwise", table.dtype, 0.0, 0.0, float(table.nbytes))
    sort = Kernel("gather", "int64", 0.0, 10.0 * indices.nbytes, 10.0 * indices.nbytes, launches=4)
    add = Kernel("gather", grad.dtype, float(grad.numel), float(grad.nbytes + indices.nbytes), float(grad.nbytes))
    return Work((fill, sort, add))


@counts(
    "aten.scatter", "aten.scatter_", "aten.scatter_add", "aten.scatter_add_", "aten.scatter_reduce",
    "aten.scatter_reduce_", "aten.index_add", "aten.index_add_", "aten.index_copy", "aten.index_copy_", "aten.index_fill",
    "aten.index_fill_", "aten.index_put", "aten.index_put_", "aten._index_put_impl_", "aten.masked_scatter",
    "aten.masked_scatter_", "aten._unsafe_index_put",
)  # fmt: skip
def scatter(op: Op) -> Work:
    """Elements written or added to places named by indices.

    Counts: indices and new elements read, as many places read and written; a copy of the tensor first where the op does
    not work in place.
    Leaves out: atomic additions that meet at one place.
    Source: ATen/native/cuda/ScatterGatherKernel.cu, Indexing.cu.
    """
    into = op.tensor("self")
    added = [t for name in ("src", "source", "values") for t in op.tensors(name)]
    moved = float(sum(t.nbytes for t in added)) or _index_bytes(op) / 8 * into.itemsize
    kernels = [Kernel("gather", working_dtype(op), moved / into.itemsize, _index_bytes(op) + 2 * moved, moved)]
    if not op.base_name.endswith("_"):
        kernels.insert(0, Kernel("copy", into.dtype, 0.0, float(into.nbytes), float(into.nbytes)))
    return Work(tuple(kernels))


@counts("aten.sort", "aten.topk", "aten.argsort", "aten.kthvalue", "aten.unique_dim", "aten._unique2", "aten.msort",
        "aten.bincount", "aten.histc", "aten.searchsorted", "aten.bucketize", "aten.multinomial")  # fmt: skip
def sort(op: Op) -> Work:
    """(*rows, d) put in order, or its largest elements.

    Counts: about eight passes over keys and indices (radix sort, eight bits a pass for four-byte keys, read and write),
    four launches.
    Leaves out: that topk and short rows need fewer passes.
    Source: ATen/native/cuda/Sort.cpp, TensorTopK.cu.
    """
    keys = next(op.input_tensors())
    passes = 2.0 * keys.itemsize
    moved = keys.numel * (keys.itemsize + 8.0)
    return streaming(op, "gather", float(keys.numel), read=passes * moved / 2, written=passes * moved / 2, launches=4)


@counts("aten.nonzero")
def nonzero(op: Op) -> Work:
    """(*shape) -> (count, dimensions) of the true elements; the host waits for the count.

    Counts: the input read twice (count, then write), the indices written; three launches.
    Leaves out: nothing of note.
    Source: ATen/native/cuda/Nonzero.cu.
    """
    source = op.tensor("self")
    kernel = Kernel("gather", source.dtype, float(source.numel), 2.0 * source.nbytes, bytes_written(op), launches=3)
    return Work((kernel,), synchronizes=True)


@counts("aten._embedding_bag", "aten._embedding_bag_forward_only")
def embedding_bag(op: Op) -> Work:
    """Rows of a table (v, d) picked and added up a bag.

    Counts: one FLOP an element picked; the indices and the rows read, results written once.
    Leaves out: nothing of note.
    Source: ATen/native/cuda/EmbeddingBag.cu.
    """
    table, indices = op.tensor("weight"), op.tensor("indices")
    picked = indices.numel * table.shape[1]
    read = float(indices.nbytes + picked * table.itemsize)
    return streaming(op, "gather", float(picked), read=read)
