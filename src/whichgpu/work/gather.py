"""Operators whose addresses come from data: embeddings, indexing, scattering, sorting, searching."""

from __future__ import annotations

from typing import cast

from whichgpu.graph import Op, Tensor
from whichgpu.work.kernel import Kernel, Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import bytes_of, copy, fill, over

_INDEX_BYTES = 8
_FP32_BYTES = 4
# Radix sort takes a byte of the key a pass.
_RADIX_BITS = 8
# Rows up to this long are sorted in shared memory, in one pass. Source: ATen/native/cuda/Sort.cpp.
_SMALL_SORT = 4096
# Up to this many indices an embedding's gradient needs no sorting; beyond, a thread sums up this many rows.
# Source: ATen/native/cuda/Embedding.cu, EmbeddingBackwardKernel.cu.
_FEW_INDICES = 3072
_ROWS_BY_THREAD = 10


@counts("aten.embedding", "aten.index_select", "aten.gather", "aten.take")
def lookup(op: Op) -> Work:
    """Table (v, *) and indices (n,) -> (n, *), or (...) elements along a dimension.

    Counts: the indices, then what they point at, at most the whole table; the result once. No FLOPs.
    Leaves out: that memory hands out at least 32 bytes, however few are wanted.
    Source: ATen/native/cuda/Indexing.cu, ScatterGatherKernel.cu; Embedding.cpp.
    """
    table = op.tensor("weight" if op.base_name == "aten.embedding" else "self")
    indices = op.tensor("indices" if op.base_name == "aten.embedding" else "index")
    return Work((_picked(op, table, (indices,)),))


@counts("aten.index", "aten._unsafe_index", "aten._unsafe_masked_index")
def index(op: Op) -> Work:
    """Tensor (v1, v2, *) and indices (n,) each -> (n, *).

    Counts: as `lookup`. A mask is first turned into indices, for which the host waits.
    Source: ATen/native/cuda/IndexKernel.cu; ATen/native/IndexingUtils.h (expandTensors).
    """
    masks = [t for t in op.tensors("indices") if t.dtype in ("bool", "uint8")]
    found = tuple(k for mask in masks for k in _true_places(mask, op.output().numel))
    return Work((*found, _picked(op, op.tensor("self"), op.tensors("indices"))), synchronizes=bool(masks))


@counts("aten.masked_select", "aten.nonzero", "aten.nonzero_static")
def select_by_mask(op: Op) -> Work:
    """(...) -> the elements a mask lets through, or their places: the host waits to know how many.

    Counts: the mask read twice, once to count and once to write; the places written and, for elements, read.
    Source: ATen/native/cuda/Nonzero.cu, IndexKernel.cpp (masked_select).
    """
    out = op.output()
    if op.base_name == "aten.masked_select":
        kernels = (*_true_places(op.tensor("mask"), out.numel), _picked(op, op.tensor("self"), ()))
    else:
        kernels = _true_places(op.tensor("self"), out.shape[0] if out.shape else 1)
    return Work(kernels, synchronizes=op.base_name != "aten.nonzero_static")


@counts("aten.embedding_dense_backward")
def embedding_backward(op: Op) -> Work:
    """Gradient (v, d) of a table from that of n looked-up rows (n, d).

    Counts: zeros for the whole table. Up to 3072 rows: one kernel that adds them, an addition an element. More: the
        indices sorted by radix, four small kernels over them that find runs of equal ones, a kernel that sums up to ten
        rows of a run in float32 and one that sums those and writes; as if all indices differed.
    Source: ATen/native/cuda/Embedding.cu, EmbeddingBackwardKernel.cu.
    """
    grad, indices, table = op.tensor("grad_output"), op.tensor("indices"), op.output()
    return Work((fill(table), *_rows_added(op, grad, indices, table)))


@counts("aten._embedding_bag", "aten._embedding_bag_forward_only")
def embedding_bag(op: Op) -> Work:
    """Table (v, d), n indices in b bags -> (b, d): sums, means or largest of rows.

    Counts: an addition for every element of every row; rows, indices and offsets read, results written.
    Source: ATen/native/cuda/EmbeddingBag.cu.
    """
    table, indices = op.tensor("weight"), op.tensor("indices")
    rows = _rows(table, indices)
    rest = (indices, op.tensor("offsets"), *op.tensors("per_sample_weights"))
    return Work((over(op, "gather", indices.numel * table.shape[1], read=(rows, *rest)),))


@counts("aten._embedding_bag_backward", "aten._embedding_bag_dense_backward")
def embedding_bag_backward(op: Op) -> Work:
    """Gradient (v, d) of a table from that of its bags (b, d): as that of an embedding, a row for each of n indices.

    Source: ATen/native/cuda/EmbeddingBag.cu, EmbeddingBackwardKernel.cu.
    """
    indices, table = op.tensor("indices"), op.output()
    each = Tensor((indices.numel, table.shape[1]), op.tensor("grad").dtype)
    return Work((fill(table), *_rows_added(op, each, indices, table)))


@counts("aten._embedding_bag_per_sample_weights_backward")
def embedding_bag_weights_backward(op: Op) -> Work:
    """Gradient (n,) of the weights of n rows: each row times the gradient (d,) of its bag.

    Counts: 2 FLOPs for every element of every row; rows and gradients read.
    Source: ATen/native/cuda/EmbeddingBag.cu.
    """
    table, indices = op.tensor("weight"), op.tensor("indices")
    rows = _rows(table, indices)
    read = (rows, op.tensor("grad"), indices, *op.tensors("offset2bag"))
    return Work((over(op, "gather", 2 * indices.numel * table.shape[1], read=read),))


@counts("aten.embedding_renorm_")
def embedding_renorm(op: Op) -> Work:
    """Table (v, d), rows of n indices scaled down in place where their norm is too large.

    Counts: indices sorted and made distinct, for which the host waits; rows read twice and written, 3 FLOPs an element.
    Source: ATen/native/cuda/Embedding.cu (embedding_renorm_cuda_).
    """
    table, indices = op.tensor("self"), op.tensor("indices")
    rows = _rows(table, indices)
    return Work(
        (
            *_sorted(indices.numel, indices.itemsize, indices.itemsize),
            over(op, "gather", indices.numel, read=(indices,), written=(indices,)),
            over(op, "gather", 3 * rows.numel, read=(indices, rows, rows), written=(rows,)),
        ),
        synchronizes=True,
    )


@counts(
    "aten.index_put",
    "aten.index_put_",
    "aten._index_put_impl_",
    "aten._unsafe_index_put",
    "aten._unsafe_masked_index_put_accumulate",
)
def index_put(op: Op) -> Work:
    """Tensor (v1, v2, *), indices (n,) each and values (n, *): the values put or added to their places.

    Counts: a copy first, unless in place. Values and indices read, places written; where values add up, the indices are
        sorted first, so that equal ones meet, and places are read, too. An addition an element.
    Source: ATen/native/cuda/Indexing.cu (index_put_with_sort_kernel), IndexKernel.cu.
    """
    indices, values = op.tensors("indices"), op.tensor("values")
    target = written = op.tensor("self")
    masks = [t for t in indices if t.dtype in ("bool", "uint8")]
    if not masks and indices:
        count = max(t.numel for t in indices)
        inner = target.shape[len(op.inputs["indices"]) if isinstance(op.inputs["indices"], tuple) else 1 :]
        written = Tensor((count, *inner), target.dtype)
    kernels = [] if op.base_name.endswith("_") else [copy(target, op.output())]
    kernels += [k for mask in masks for k in _true_places(mask, values.numel)]
    if not op.attributes.get("accumulate", op.base_name.endswith("accumulate")):
        kernels.append(over(op, "gather", 0, read=(*indices, values), written=(written,)))
    else:
        kernels += _sorted(max((t.numel for t in indices), default=1), _INDEX_BYTES, _INDEX_BYTES)
        kernels.append(over(op, "gather", written.numel, read=(*indices, values, written), written=(written,)))
    return Work(tuple(kernels), synchronizes=bool(masks))


@counts(
    "aten.scatter",
    "aten.scatter_",
    "aten.scatter_add",
    "aten.scatter_add_",
    "aten.scatter_reduce",
    "aten.scatter_reduce_",
    "aten.index_add",
    "aten.index_add_",
    "aten.index_copy",
    "aten.index_copy_",
    "aten.index_fill",
    "aten.index_fill_",
    "aten.index_reduce",
    "aten.index_reduce_",
    "aten.masked_scatter",
    "aten.masked_scatter_",
    "aten.put",
    "aten.put_",
)
def scatter(op: Op) -> Work:
    """Tensor (...), indices and a source (n, *): the source written or added to the places named.

    Counts: a copy first, unless in place. Indices and source read, places written, and read where something is added,
        an operation an element.
    Leaves out: additions to one place, which wait for each other.
    Source: ATen/native/cuda/ScatterGatherKernel.cu, Indexing.cu.
    """
    target = op.tensor("self")
    where = (*op.tensors("index"), *op.tensors("mask"))
    source = (*op.tensors("src"), *op.tensors("source"))
    # One value for many places has no tensor: as many are written as there are indices, whole rows for `index_fill`.
    places = source[0] if source else Tensor(where[0].shape, target.dtype)
    if "index_fill" in op.name and target.shape:
        dim = cast("int", op.attributes.get("dim", 0))
        rows = target.numel // max(target.shape[dim], 1)
        places = Tensor((where[0].numel, rows), target.dtype)
    changed = Tensor(places.shape, target.dtype)
    adds = any(word in op.name for word in ("add", "reduce"))
    kernels = [] if op.base_name.endswith("_") else [copy(target, op.output())]
    read = (*where, *source, *((changed,) if adds else ()))
    kernels.append(over(op, "gather", changed.numel if adds else 0, read=read, written=(changed,)))
    return Work(tuple(kernels))


@counts("aten.sort", "aten.argsort", "aten.kthvalue", "aten.median", "aten.nanmedian", "aten.mode", "aten.msort")
def sort(op: Op) -> Work:
    """(..., n) -> (..., n) and where each element was, or the one in the middle.

    Counts: rows of up to 4096 in one pass; longer ones by radix, a pass a byte of the key, each of which reads and
        writes keys and indices of 8 bytes.
    Source: ATen/native/cuda/Sort.cpp; Merrill and Grimshaw 2011 (radix sort).
    """
    keys = op.tensor("self")
    dim = cast("int", op.attributes.get("dim", -1))
    if not keys.shape or keys.shape[dim] <= _SMALL_SORT:
        return Work((over(op, "gather", 0),))
    return Work(tuple(_sorted(keys.numel, keys.itemsize, keys.itemsize)))


@counts("aten.topk")
def topk(op: Op) -> Work:
    """(..., n) -> the k largest of each row and where they are.

    Counts: selection by radix reads the keys once for each of their bytes, and once more to gather; then k are sorted.
    Source: ATen/native/cuda/TensorTopK.cu.
    """
    keys = op.tensor("self")
    return Work((over(op, "gather", 0, read=(keys,) * (keys.itemsize + 1)), over(op, "gather", 0, read=op.outputs)))


@counts("aten.randperm")
def randperm(op: Op) -> Work:
    """() -> (n,): random keys, sorted with the numbers they carry.

    Source: ATen/native/cuda/Randperm.cu.
    """
    out = op.output()
    keys = Kernel("elementwise", "int32", 25.0 * out.numel, 0.0, float(_FP32_BYTES * out.numel))
    return Work((keys, fill(out), *_sorted(out.numel, _FP32_BYTES, _FP32_BYTES)))


@counts("aten._unique2", "aten._unique", "aten.unique_consecutive", "aten.unique_dim")
def unique(op: Op) -> Work:
    """(n,) -> the values that occur, sorted; the host waits to know how many.

    Counts: a sort by radix, then two passes that find and write where values change.
    Source: ATen/native/cuda/Unique.cu.
    """
    data = op.tensor("self")
    sorting = () if op.base_name == "aten.unique_consecutive" else _sorted(data.numel, data.itemsize, data.itemsize)
    pass_over = over(op, "gather", data.numel, read=(data,))
    return Work((*sorting, pass_over, pass_over), synchronizes=True)


@counts("aten.searchsorted", "aten.bucketize")
def searchsorted(op: Op) -> Work:
    """Sorted (..., n) and values (m,) -> (m,) places: halving n for each.

    Counts: log2 n comparisons a value; boundaries, values and places once.
    Source: ATen/native/cuda/Bucketization.cu.
    """
    boundaries = op.tensor("sorted_sequence" if op.base_name == "aten.searchsorted" else "boundaries")
    steps = max(1, (boundaries.shape[-1] if boundaries.shape else 1).bit_length())
    return Work((over(op, "gather", steps * op.output().numel),))


@counts("aten.bincount", "aten.histc")
def histogram(op: Op) -> Work:
    """(n,) -> counts (bins,).

    Counts: smallest and largest by a reduction, for which the host waits, zeros, and an addition an element.
    Source: ATen/native/cuda/SummaryOps.cu.
    """
    data, out = op.tensor("self"), op.output()
    extremes = over(op, "reduction", 2 * data.numel, read=(data,), written=())
    return Work((extremes, fill(out), over(op, "gather", data.numel)), synchronizes=True)


@counts("aten.multinomial")
def multinomial(op: Op) -> Work:
    """Weights (b, n) -> (b, k) draws: weights summed and normalized, running totals, and a search for each draw.

    Counts: three passes that read and two that write, 12 FLOPs an element.
    Source: ATen/native/cuda/MultinomialKernel.cu.
    """
    weights = op.tensor("self")
    read, written = (weights,) * 3, (weights, weights, op.output())
    return Work((over(op, "reduction", 12 * weights.numel, read=read, written=written, launches=4),))


def _picked(op: Op, table: Tensor, indices: tuple[Tensor, ...]) -> Kernel:
    """Return the kernel that writes the result of `op` from elements of `table`."""
    picked = min(op.output().numel * table.itemsize, table.nbytes)
    return Kernel(
        "gather",
        table.dtype,
        flops=0.0,
        bytes_read=float(picked + bytes_of(indices)),
        bytes_written=float(op.output().nbytes),
    )


def _rows(table: Tensor, indices: Tensor) -> Tensor:
    """Return the rows of `table` that `indices` can point at, at most all."""
    return Tensor((min(indices.numel, table.shape[0]), *table.shape[1:]), table.dtype)


def _rows_added(op: Op, grad: Tensor, indices: Tensor, table: Tensor) -> list[Kernel]:
    """Return the kernels that add `grad`, a row an index, to the rows of `table`."""
    rows = _rows(table, indices)
    if indices.numel <= _FEW_INDICES and op.base_name == "aten.embedding_dense_backward":
        return [over(op, "gather", grad.numel, read=(indices, grad, rows), written=(rows,))]
    bits = max(1, (table.shape[0] - 1).bit_length())
    runs = over(op, "gather", 0, read=(indices,), written=(indices,))
    sums = indices.numel // _ROWS_BY_THREAD + rows.shape[0]
    partial = Tensor((min(sums, indices.numel), *table.shape[1:]), "float32")
    return [
        *_sorted(indices.numel, -(-bits // _RADIX_BITS), indices.itemsize),
        *(runs,) * 4,
        over(op, "gather", grad.numel, read=(indices, grad), written=(partial,)),
        over(op, "gather", partial.numel, read=(partial,), written=(rows,)),
    ]


def _sorted(count: int, key_bytes: int, itemsize: int) -> list[Kernel]:
    """Return a radix sort of `count` keys whose `key_bytes` last bytes differ, each with an index of 8 bytes."""
    nbytes = float(count * (itemsize + _INDEX_BYTES))
    return [Kernel("gather", "int64", 0.0, nbytes, nbytes)] * key_bytes


def _true_places(mask: Tensor, count: int) -> tuple[Kernel, ...]:
    """Return the kernels that write the places of the `count` true elements of `mask`."""
    read, places = float(mask.nbytes), float(count * len(mask.shape) * _INDEX_BYTES)
    return (
        Kernel("reduction", mask.dtype, float(mask.numel), read, 0.0),
        Kernel("gather", mask.dtype, float(mask.numel), read, places),
    )
