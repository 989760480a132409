"""Fused attention. The math variant needs no rule: it arrives as matrix products and a softmax."""

from __future__ import annotations

from whichgpu.graph import Op
from whichgpu.work.kernel import Gemm, Kernel, Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import bytes_read, bytes_written

# Forward multiplies query by key and weights by value; backward makes the weights again and has four gradients.
_FORWARD_PRODUCTS = 2
_BACKWARD_PRODUCTS = 5


def _attention(op: Op, products: int, launches: int) -> Work:
    query, key, value = op.tensor("query"), op.tensor("key"), op.tensor("value")
    batch, heads, length, width = query.shape
    keys = key.shape[2]
    # The forward products have widths (query width, value width); backward repeats them in the ratio 3 : 2.
    by_query = (products + 1) // 2
    widths = by_query * width + (products - by_query) * value.shape[3]
    share = 0.5 if op.attributes.get("is_causal") else 1.0
    flops = 2.0 * batch * heads * length * keys * widths * share
    kernel = Kernel(
        "attention",
        query.dtype,
        flops,
        bytes_read(op),
        bytes_written(op),
        Gemm(batch * heads, length, keys, width),
        "forward" if products == _FORWARD_PRODUCTS else "dgrad",
        launches=launches,
    )
    return Work((kernel,))


@counts(
    "aten._scaled_dot_product_flash_attention",
    "aten._scaled_dot_product_efficient_attention",
    "aten._scaled_dot_product_cudnn_attention",
)
def fused_attention(op: Op) -> Work:
    """(b, h, q, e), (b, h, k, e), (b, h, k, v) -> (b, h, q, v).

    Counts: 2bhqk(e + v) FLOPs, half of it where the mask is causal; operands, bias and log-sum-exp moved once.
    Leaves out: the softmax's exponentials, reading keys and values again for each block of queries (from L2 mostly), the
    half of the blocks on the diagonal that a causal mask throws away.
    Source: arXiv 2307.08691; torch.utils.flop_counter, sdpa_flop (which does not halve causal attention).
    """
    return _attention(op, _FORWARD_PRODUCTS, 1)


@counts(
    "aten._scaled_dot_product_flash_attention_backward",
    "aten._scaled_dot_product_efficient_attention_backward",
    "aten._scaled_dot_product_cudnn_attention_backward",
)
def fused_attention_backward(op: Op) -> Work:
    """Gradients of query, key and value, the weights made anew.

    Counts: five products, 2bhqk(3e + 2v) FLOPs, half of it where the mask is causal; operands and gradients moved once;
    three launches (row sums, main, conversion of the query's gradient).
    Leaves out: atomic additions into the query's gradient.
    Source: arXiv 2307.08691; torch.utils.flop_counter, sdpa_backward_flop.
    """
    return _attention(op, _BACKWARD_PRODUCTS, 3)
