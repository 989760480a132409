"""Sparse matrices: products with dense ones, coalescing, masks, softmax. Their places and values are dense tensors.

All of it is of kind "gather": which rows and elements a kernel reads, places decide. A product, too, is bound by the
rows it gathers, 2 FLOPs for every 4 bytes, and runs on no tensor cores.
"""

from __future__ import annotations

from whichgpu.graph import Op, Tensor
from whichgpu.work.kernel import Kernel, Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import SPECIAL, copy, fill, over

# What a block of CUB's merge sort orders before blocks are merged: 256 threads with up to 11 pairs of 16 bytes each.
# Source: cub/device/dispatch/tuning/tuning_merge_sort.cuh.
_SORTED_BY_A_BLOCK = 2816


@counts("aten._sparse_addmm")
def product(op: Op) -> Work:
    """Return beta (m, c) + alpha (m, k) @ (k, c) -> (m, c), the first factor sparse with n elements: cuSPARSE's SpMM.

    Counts: 2 n c FLOPs. Values, columns and the ends of rows read; a row of the dense factor for every element, as
        elements of a row of the result rarely want the same; the result written. Of COO, int32 copies of the indices
        and the ends of rows first; its result is zeroed, or set to what is added, and lies in columns, to which and
        from which it is copied. Of CSR, what is added is copied to the result.
    Leaves out: rows of the dense factor that a cache still holds, and cuSPARSE's buffer.
    Source: ATen/native/sparse/cuda/SparseCUDATensorMath.cu (s_addmm_out_sparse_dense_cuda), SparseBlas.cpp,
        SparseBlasImpl.cpp (spmm).
    """
    dense, values, out = op.tensor("mat2"), op.tensor("values"), op.output()
    added, has_added = op.tensor("self"), bool(op.attributes.get("beta", 1))
    gathered = Tensor((values.numel, dense.shape[1]), dense.dtype)
    flops = 2 * gathered.numel
    if "crow_indices" in op.inputs:
        places = (op.tensor("crow_indices"), op.tensor("col_indices"))
        return Work((copy(added, out), over(op, "gather", flops, read=(*places, values, gathered), written=(out,))))
    index = Tensor((values.numel,), "int64")
    short, ends = Tensor(index.shape, "int32"), Tensor((out.shape[0] + 1,), "int32")
    turned = Tensor(out.shape, out.dtype, (1, out.shape[0]))
    return Work(
        (
            copy(index, short),
            over(op, "gather", 0, read=(short,), written=(ends,)),
            copy(index, short),
            copy(added, out) if has_added else fill(out),
            copy(out, turned),
            over(op, "gather", flops, read=(ends, short, values, gathered), written=(turned,)),
            copy(turned, out),
        )
    )


@counts("aten._coalesce")
def coalesce(op: Op) -> Work:
    """Indices (d, n) and values (n,) -> indices (d, n'), values (n',) in order, those of one place added up.

    Counts: indices made one number, which is sorted with its place by merging, a pass for each doubling; the places of
        equal ones found, for which the host waits; an addition an element; three kernels a dimension make indices.
    Source: ATen/native/sparse/cuda/SparseCUDATensor.cu (_coalesce_sparse_cuda).
    """
    indices, values = op.tensor("indices"), op.tensor("values")
    places, sums = op.output(0), op.output(1)
    key, left = Tensor(indices.shape[1:], "int64"), Tensor(places.shape[1:], "int64")
    flatten = over(op, "elementwise", 2 * indices.numel, read=(indices,), written=(key,))
    unique = over(op, "gather", key.numel, read=(key, key), written=(left, left))
    add = over(op, "gather", values.numel, read=(left, key, values), written=(sums,))
    unflatten = (
        over(op, "elementwise", 0, read=(left,), written=(left,)),
        over(op, "elementwise", left.numel, read=(left,), written=(left,)),
        over(op, "elementwise", 2 * left.numel, read=(left, left), written=(left,)),
    )
    kernels = (flatten, fill(key), fill(key), *merged(op, key), unique, add, *unflatten * indices.shape[0])
    return Work(kernels, synchronizes=True)


@counts("aten.sparse_mask")
def mask(op: Op) -> Work:
    """Dense (m, k), or values (n',) of a matrix, and indices (2, n) -> values (n,): the elements in these places.

    Counts: indices and elements read, values written.
    Source: ATen/native/sparse/SparseTensorMath.cpp (sparse_mask).
    """
    out = op.output()
    places = tuple(t for name in op.inputs if name != "self" for t in op.tensors(name))
    return Work((over(op, "gather", 0, read=(*places, out)),))


@counts("aten._sparse_softmax", "aten._sparse_log_softmax")
def softmax(op: Op) -> Work:
    """Indices (2, n) and values (n,) -> values (n,), a softmax over the elements of each line.

    Counts: the lines of elements found and sorted by, their largest, then exponentials and sums: 4 + 8 FLOPs an
        element in three passes over the values, gathered line by line. The host waits for the number of lines.
    Source: ATen/native/sparse/cuda/SoftMax.cu.
    """
    indices, values = op.tensor("indices"), op.tensor("values")
    key = Tensor(values.shape, "int64")
    offsets = over(op, "elementwise", 2 * indices.numel, read=(indices,), written=(key,))
    passes = over(op, "gather", (4 + SPECIAL) * values.numel, read=(key, values, values, values), written=(values,))
    largest = over(op, "gather", values.numel, read=(key, values), written=())
    return Work((offsets, fill(key), *merged(op, key), largest, passes), synchronizes=True)


@counts("aten._sparse_softmax_backward_data", "aten._sparse_log_softmax_backward_data")
def softmax_backward(op: Op) -> Work:
    """Gradient (n,) of a sparse softmax, from that of its result (n,) and the result.

    Counts: the lines of elements found and sorted by; 4 FLOPs an element, both read twice.
    Source: ATen/native/sparse/cuda/SoftMax.cu.
    """
    indices, grad, result = op.tensor("indices"), op.tensor("grad_output"), op.tensor("values")
    key = Tensor(result.shape, "int64")
    offsets = over(op, "elementwise", 2 * indices.numel, read=(indices,), written=(key,))
    last = over(op, "gather", 4 * grad.numel, read=(key, grad, result, grad, result))
    return Work((offsets, fill(key), *merged(op, key), last), synchronizes=True)


@counts("aten._convert_indices_from_coo_to_csr", "aten._convert_indices_from_csr_to_coo")
def convert(op: Op) -> Work:
    """Rows (n,) in order -> the ends (m + 1,) of rows, or the other way round.

    Source: ATen/native/sparse/cuda/SparseCsrTensorMath.cu.
    """
    return Work((over(op, "gather", 0),))


def merged(op: Op, key: Tensor) -> tuple[Kernel, ...]:
    """Return a sort of keys, each with an index, by merging: a pass over blocks, then one for each doubling."""
    blocks = -(-key.numel // _SORTED_BY_A_BLOCK)
    one = over(op, "gather", key.numel, read=(key, key), written=(key, key))
    return (one,) * (1 + max(blocks - 1, 0).bit_length())
