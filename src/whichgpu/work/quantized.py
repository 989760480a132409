"""bitsandbytes: weights in 4 and 8 bits, optimizer state in 8.

Source: bitsandbytes 0.46 to 0.50: csrc/kernels.cu, backends/cuda/ops.py, autograd/_functions.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import cast

from whichgpu.graph import Op, Tensor
from whichgpu.work.kernel import Kernel, Work
from whichgpu.work.matmul import product
from whichgpu.work.registry import counts
from whichgpu.work.traffic import SPECIAL, bytes_of, over

# Below so many rows a kernel unpacks the weights as it multiplies; above, they are written out and multiplied as ever.
# Newer releases change over between 8 and 1,536 rows, where depends on the GPU: what that gains is left out.
_FEW_ROWS = 8
# An element in blocks: a look-up or a search through the code book, a product with the block's scale.
_UNPACK_FLOPS, _PACK_FLOPS = 2, 8
# Unpacking 4 bits walks down a tree of comparisons: a multiprocessor takes as long as for so many elements of a plain
# kernel. By iterations of LoRA on Llama 2 7B and 13B that lit-gpt published for an A100 with bitsandbytes 0.41: those
# over NF4 take 10 ps a weight and pass more than their products and the cast to bfloat16 explain.
_UNPACK_4BIT_ITEMS = 16
# Moments, root, quotient, update, and both moments unpacked and packed again.
_ADAM_FLOPS = 14 + 2 * SPECIAL


@counts("bitsandbytes.dequantize_4bit")
def dequantize_4bit(op: Op) -> Work:
    """Packed values and the scales of their blocks -> (...) floats.

    Counts: 2 FLOPs an element, and the time of 16 plain ones to find it; packed values and scales read once, the floats
        written once.
    """
    return Work((_unpacked(op.output(), op.input_tensors()),))


def _unpacked(result: Tensor, packed: Iterable[Tensor]) -> Kernel:
    return Kernel(
        "elementwise",
        result.dtype,
        flops=float(_UNPACK_FLOPS * result.numel),
        bytes_read=float(bytes_of(packed)),
        bytes_written=float(result.nbytes),
        items=float(_UNPACK_4BIT_ITEMS * result.numel),
    )


@counts("bitsandbytes.dequantize_blockwise", "bitsandbytes.int8_vectorwise_dequant", "bitsandbytes.int8_mm_dequant")
def dequantize(op: Op) -> Work:
    """Packed values and the scales of their blocks -> (...) floats.

    Counts: 2 FLOPs an element; the packed values and scales read once, the floats written once.
    """
    return Work((over(op, "elementwise", _UNPACK_FLOPS * op.output().numel),))


@counts("bitsandbytes.quantize_4bit", "bitsandbytes.quantize_blockwise", "bitsandbytes.int8_vectorwise_quant")
def quantize(op: Op) -> Work:
    """(...) floats -> packed values, and the scale of each block or row: its largest value.

    Counts: 8 FLOPs an element; the floats read once, all results written once.
    """
    return Work((over(op, "elementwise", _PACK_FLOPS * op.tensor("A").numel),))


@counts("bitsandbytes.gemm_4bit", "bitsandbytes.gemv_4bit")
def multiply_4bit(op: Op) -> Work:
    """(..., k) @ packed (n, k) transposed -> (..., n).

    Counts: few rows: 2 m n k FLOPs in one kernel that reads the packed weights. More: the weights unpacked, written and
        read again by a product in the format of the other factor.
    """
    given, result = op.tensor("A"), op.output()
    n, k = cast("tuple[int, ...]", op.attributes["shapeB"])[:2]
    rows = prod(given.shape[:-1])
    left, right = Tensor((rows, k), given.dtype), Tensor((k, n), given.dtype)
    packed = tuple(t for name in op.inputs if name not in ("A", "bias", "code") for t in op.tensors(name))
    if rows < _FEW_ROWS:
        return Work((product(left, right, (given, *packed), result),))
    return Work((_unpacked(right, packed), product(left, right, (given, right, *op.tensors("bias")), result)))


@counts("bitsandbytes.int8_scaled_mm", "bitsandbytes.int8_linear_matmul")
def multiply_8bit(op: Op) -> Work:
    """(..., k) @ (n, k) transposed, both in int8 -> (..., n), in int32, then scaled by rows and columns.

    Counts: 2 m n k operations of the int8 units into int32; scaling, where it is asked for: 2 FLOPs an element, the
        sums read and the result written once.
    """
    given, weights, result = op.tensor("A"), op.tensor("B"), op.output()
    left = Tensor((prod(given.shape[:-1]), given.shape[-1]), given.dtype)
    right = Tensor((given.shape[-1], weights.shape[0]), given.dtype)
    sums = Tensor(result.shape, "int32")
    multiplied = product(left, right, (given, weights), sums)
    if result.dtype == sums.dtype:
        return Work((multiplied,))
    scales = tuple(t for name in ("row_stats", "col_stats", "bias") for t in op.tensors(name))
    scaled = Kernel(
        "elementwise",
        result.dtype,
        flops=float(_UNPACK_FLOPS * result.numel),
        bytes_read=float(bytes_of((sums, *scales))),
        bytes_written=float(result.nbytes),
    )
    return Work((multiplied, scaled))


@counts("bitsandbytes.optimizer_update_8bit_blockwise", "bitsandbytes.optimizer_update_32bit")
def update(op: Op) -> Work:
    """Parameter, gradient and state (...) of one tensor -> updated in place.

    Counts: the FLOPs of Adam, with what packing adds where the state has 8 bits; all tensors read once, all but the
        gradient written once.
    """
    read = tuple(op.input_tensors())
    is_packed = "absmax1" in op.inputs
    written = tuple(t for name in ("p", "state1", "state2", "absmax1", "absmax2") for t in op.tensors(name))
    flops = _ADAM_FLOPS + is_packed * 2 * (_UNPACK_FLOPS + _PACK_FLOPS)
    return Work((over(op, "optimizer", flops * op.tensor("p").numel, read=read, written=written),))
