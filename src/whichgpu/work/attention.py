"""Fused scaled dot-product attention, forward and backward. The plain kind is bmm and softmax, and counted there."""

from __future__ import annotations

from whichgpu.graph import Op, Tensor
from whichgpu.work.kernel import Kernel, Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import bytes_of, over, read_tensors

_FP32_BYTES = 4
# Queries and keys of one block. Source: flash-attention 2, run_mha_fwd: 128 queries, 64 or 128 keys.
_BLOCK = 128


@counts(
    "aten._scaled_dot_product_flash_attention",
    "aten._scaled_dot_product_efficient_attention",
    "aten._scaled_dot_product_cudnn_attention",
    "aten._scaled_dot_product_fused_attention_overrideable",
)
def attention(op: Op) -> Work:
    """(b, h, q, d), (b, h', k, d), (b, h', k, v) -> (b, h, q, v), in one kernel.

    Counts: 2 b h (d + v) FLOPs for every query and key that see each other: q k pairs, or with a causal mask those
        with key <= query, half of them. Query, key, value and mask read once, output and log-sum-exp written once.
        Scores are gone through one by one, in whole blocks of 128 by 128.
    Leaves out: softmax, about 13 FLOPs a pair (5 % at d = 64); masked pairs inside of blocks of 64 to 128 that the
        mask cuts; heads rounded up to the sizes kernels exist for (40 runs as 64); keys read again by later queries.
    Source: Dao, arXiv 2307.08691; torch/utils/flop_counter.py, which does not halve.
    """
    pairs = _pairs(op, op.tensor("query").shape[-2], op.tensor("key").shape[-2])
    return Work((_fused(op, _tiled_pairs(op), _heads(op) * pairs * 2 * _widths(op)),))


@counts(
    "aten._scaled_dot_product_flash_attention_backward",
    "aten._scaled_dot_product_efficient_attention_backward",
    "aten._scaled_dot_product_cudnn_attention_backward",
    "aten._scaled_dot_product_fused_attention_overrideable_backward",
)
def attention_backward(op: Op) -> Work:
    """Gradients of query, key and value (and mask) of `attention`, the scores computed anew.

    Counts: five products where forward has two: 2 b h (3 d + 2 v) FLOPs a pair. One kernel first reduces output times
        its gradient to a number a query, 2 FLOPs an element; the main one reads everything once and adds up the
        query's gradient in float32, which a last kernel converts where the query is in half precision. Where keys
        have fewer heads (h' < h), their gradients are made for all h and then summed.
    Leaves out: as `attention`.
    Source: Dao, arXiv 2307.08691; ATen/native/transformers/cuda/flash_attn/flash_api.cpp, attention_backward.cu.
    """
    grad = _grad(op)
    query, key, value = op.tensor("query"), op.tensor("key"), op.tensor("value")
    pairs = _pairs(op, query.shape[-2], key.shape[-2])
    flops = _heads(op) * pairs * 2 * (3 * query.shape[-1] + 2 * value.shape[-1])
    per_query = Tensor(query.shape[:-1], "float32")
    reduce = over(op, "reduction", 2 * grad.numel, read=(grad, op.tensor("out")), written=(per_query,))
    main = _fused(op, _tiled_pairs(op), flops, read=(*read_tensors(op, "out"), per_query))
    kernels = [reduce, main]
    if query.itemsize < _FP32_BYTES:
        total = Tensor(query.shape, "float32")
        kernels.append(over(op, "elementwise", 0, read=(total,), written=(query,)))
    if key.shape[1] != query.shape[1]:
        for tensor in (key, value):
            shape = (tensor.shape[0], query.shape[1], *tensor.shape[2:])
            each = Tensor(shape, tensor.dtype)
            kernels.append(over(op, "reduction", each.numel, read=(each,), written=(tensor,)))
    return Work(tuple(kernels))


@counts("aten._flash_attention_forward", "aten._efficient_attention_forward")
def packed_attention(op: Op) -> Work:
    """(b, q, h, d) or sequences end to end (t, h, d) -> the same shape, in one kernel.

    Counts: as `attention`. Of sequences end to end only the longest is known (`max_q`, `max_k`): every query is
        counted as if its keys were that many, which is at most.
    Leaves out: as `attention`.
    Source: as `attention`.
    """
    query, value = op.tensor("query"), op.tensor("value")
    heads, width = query.shape[-2:]
    pairs = heads * _packed_pairs(op)
    return Work((_fused(op, pairs, 2 * pairs * (width + value.shape[-1])),))


@counts("aten._flash_attention_backward", "aten._efficient_attention_backward")
def packed_attention_backward(op: Op) -> Work:
    """Gradients of query, key and value of `packed_attention`.

    Counts: as `attention_backward`, with the pairs of `packed_attention`.
    Leaves out: as `attention`.
    Source: as `attention_backward`.
    """
    grad, query, value = _grad(op), op.tensor("query"), op.tensor("value")
    heads, width = query.shape[-2:]
    per_query = Tensor(query.shape[:-1], "float32")
    pairs = heads * _packed_pairs(op)
    return Work(
        (
            over(op, "reduction", 2 * grad.numel, read=(grad, op.tensor("out")), written=(per_query,)),
            _fused(op, pairs, 2 * pairs * (3 * width + 2 * value.shape[-1])),
        )
    )


def _fused(op: Op, pairs: float, flops: float, read: tuple[Tensor, ...] | None = None) -> Kernel:
    return Kernel(
        "attention",
        op.tensor("query").dtype,
        flops=float(flops),
        bytes_read=float(bytes_of(read_tensors(op) if read is None else read)),
        bytes_written=float(bytes_of(op.output_tensors())),
        variant=next((name for name in ("efficient", "cudnn") if name in op.base_name), ""),
        items=float(pairs),
    )


def _grad(op: Op) -> Tensor:
    return op.tensor("grad_out" if "grad_out" in op.inputs else "grad_out_")


def _heads(op: Op) -> int:
    batch, heads = op.tensor("query").shape[:2]
    return batch * heads


def _widths(op: Op) -> int:
    return op.tensor("query").shape[-1] + op.tensor("value").shape[-1]


def _pairs(op: Op, queries: int, keys: int) -> int:
    """Return how many pairs of a query and a key see each other in one head."""
    if not op.attributes.get("is_causal", False) and not op.attributes.get("custom_mask_type", 0):
        return queries * keys
    # Query i sees keys 0 to i: a triangle, then a rectangle where there are more queries than keys.
    corner = min(queries, keys)
    return corner * (corner + 1) // 2 + (queries - corner) * keys


def _tiled_pairs(op: Op) -> int:
    """Return how many pairs all heads compute: a kernel's blocks of queries and keys are computed whole."""
    queries, keys = (-(-op.tensor(name).shape[-2] // _BLOCK) * _BLOCK for name in ("query", "key"))
    return _heads(op) * _pairs(op, queries, keys)


def _packed_pairs(op: Op) -> float:
    """Return how many pairs see each other in one head of all sequences together."""
    query, key = op.tensor("query"), op.tensor("key")
    ends = next((n for n in ("cum_seq_q", "cu_seqlens_q") if n in op.inputs), None)
    if ends is None:
        return query.shape[0] * _pairs(op, query.shape[-3], key.shape[-3])
    names = ("max_q", "max_k") if ends == "cum_seq_q" else ("max_seqlen_q", "max_seqlen_k")
    longest_query, longest_key = (int(str(op.attributes[name])) for name in names)
    tokens = query.numel // (query.shape[-1] * query.shape[-2])
    return tokens * _pairs(op, longest_query, longest_key) / longest_query
