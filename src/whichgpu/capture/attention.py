"""Which fused attention scaled_dot_product_attention picks on CUDA.

Source: ATen/native/transformers/attention.cpp and cuda/sdp_utils.cpp of torch, for compute capability 8.0 and newer.
"""

from __future__ import annotations

import torch
from torch import Tensor

from whichgpu.capture.phantom_tensor import META

aten = torch.ops.aten

_HALF = (torch.float16, torch.bfloat16)
_FLASH_LARGEST_HEAD = 256
# Vector loads of the memory-efficient kernels, in elements.
_EFFICIENT_ALIGNMENT = {torch.float16: 8, torch.bfloat16: 8, torch.float32: 4}
_MASK_ALIGNMENT = 16


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return attention (b, h, q, e), (b, h, k, e), (b, h, k, v) -> (b, h, q, v) by the kernel CUDA would choose."""
    if can_use_flash(query, key, value, attn_mask, is_causal, enable_gqa):
        return _flash(query, key, value, dropout_p, is_causal, scale)
    if can_use_efficient(query, key, value, attn_mask):
        return _efficient(query, key, value, attn_mask, dropout_p, is_causal, scale)
    if can_use_cudnn(query, key, value):
        needs_logsumexp = torch.is_grad_enabled() and any(t.requires_grad for t in (query, key, value))
        made: Tensor = aten._scaled_dot_product_cudnn_attention(
            query, key, value, attn_mask, needs_logsumexp, dropout_p, is_causal, False, scale=scale
        )[0]
        return made
    out: Tensor = aten._scaled_dot_product_attention_math(
        query, key, value, attn_mask, dropout_p, is_causal, None, scale=scale, enable_gqa=enable_gqa
    )[0]
    return out


def can_use_flash(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None, is_causal: bool, enable_gqa: bool
) -> bool:
    """Return whether the flash attention kernel takes these arguments."""
    return (
        torch.backends.cuda.flash_sdp_enabled()
        and attn_mask is None
        and _are_dense(query, key, value)
        and query.dtype in _HALF
        and key.dtype == query.dtype == value.dtype
        and query.shape[-1] == key.shape[-1] == value.shape[-1] <= _FLASH_LARGEST_HEAD
        and query.shape[0] == key.shape[0] == value.shape[0]
        and (_have_same_heads(query, key, value) or (enable_gqa and query.shape[1] % key.shape[1] == 0))
        and not (is_causal and query.shape[-2] != key.shape[-2])
    )


def can_use_efficient(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None) -> bool:
    """Return whether the memory-efficient attention kernel takes these arguments."""
    alignment = _EFFICIENT_ALIGNMENT.get(query.dtype)
    return (
        torch.backends.cuda.mem_efficient_sdp_enabled()
        and alignment is not None
        and _are_dense(query, key, value)
        and key.dtype == query.dtype == value.dtype
        and query.shape[-1] % alignment == 0
        and value.shape[-1] % alignment == 0
        and query.shape[-1] == key.shape[-1]
        and query.shape[0] == key.shape[0] == value.shape[0]
        and _have_same_heads(query, key, value)
        and (attn_mask is None or not attn_mask.requires_grad or attn_mask.dtype == query.dtype)
    )


def can_use_cudnn(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Return whether cuDNN's kernel runs: it comes last on compute capability 8.0, for who allows no other."""
    return (
        torch.backends.cuda.cudnn_sdp_enabled()
        and not torch.backends.cuda.math_sdp_enabled()
        and _are_dense(query, key, value)
        and query.dtype in _HALF
        and key.dtype == query.dtype == value.dtype
        and query.shape[-1] % 8 == 0
        and value.shape[-1] % 8 == 0
        and _have_same_heads(query, key, value)
    )


def _are_dense(query: Tensor, key: Tensor, value: Tensor) -> bool:
    return all(t.dim() == 4 and 0 not in t.shape and t.stride(-1) == 1 for t in (query, key, value))


def _have_same_heads(query: Tensor, key: Tensor, value: Tensor) -> bool:
    return bool(query.shape[1] == key.shape[1] == value.shape[1])


def _flash(query: Tensor, key: Tensor, value: Tensor, dropout_p: float, is_causal: bool, scale: float | None) -> Tensor:
    head = query.shape[-1]
    padding = -head % 8
    if padding:
        scale = scale if scale is not None else head**-0.5
        query, key, value = (torch.nn.functional.pad(t, (0, padding)) for t in (query, key, value))
    out: Tensor = aten._scaled_dot_product_flash_attention(query, key, value, dropout_p, is_causal, False, scale=scale)[
        0
    ]
    return out[..., :head] if padding else out


def _efficient(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None,
    dropout_p: float,
    is_causal: bool,
    scale: float | None,
) -> Tensor:
    bias = None if attn_mask is None else _bias(attn_mask, query, key)
    needs_logsumexp = torch.is_grad_enabled() and any(t.requires_grad for t in (query, key, value))
    out: Tensor = aten._scaled_dot_product_efficient_attention(
        query, key, value, bias, needs_logsumexp, dropout_p, is_causal, scale=scale
    )[0]
    return out


def _bias(attn_mask: Tensor, query: Tensor, key: Tensor) -> Tensor:
    """Return the mask as an additive bias, expanded and with rows that begin at aligned addresses."""
    if attn_mask.dtype == torch.bool:
        low = aten.scalar_tensor(float("-inf"), dtype=query.dtype, device=META)
        attn_mask = aten.where.ScalarSelf(attn_mask, 0.0, low)
    length = attn_mask.shape[-1]
    if length % _MASK_ALIGNMENT and length == key.shape[-2]:
        padded = torch.nn.functional.pad(attn_mask, (0, -length % _MASK_ALIGNMENT))
        attn_mask = padded[..., :length]
    return attn_mask.expand(query.shape[0], query.shape[1], query.shape[2], key.shape[2])
