"""Composite operators that choose their kernels by device: on the phantom GPU they choose as on CUDA.

torch decides in C++ (`input.is_cuda()`) whether dropout is fused, batch norm and recurrent layers go to cuDNN and half
precision softmax converts on the fly. Each such operator gets a kernel for CUDA's autograd key that decides likewise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from whichgpu.capture.attention import scaled_dot_product_attention
from whichgpu.capture.recurrent import RECURRENT_KERNELS
from whichgpu.errors import CaptureError

aten = torch.ops.aten


def dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Return dropout as one fused kernel, and nothing where nothing is dropped, as ATen/native/Dropout.cpp does."""
    if not train or p == 0 or input.numel() == 0:
        # The very tensor: torch's decomposition in Python makes a copy here, which no GPU does.
        return input
    if p < 1:
        fused: Tensor = aten.native_dropout(input, p, train)[0]
        return fused
    plain: Tensor = aten.dropout.default.decompose(input, p, train)
    return plain


def softmax(input: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    """Return softmax, half to float in one kernel, as ATen/native/SoftMax.cpp does for CUDA."""
    return _softmax(aten._softmax, input, dim, dtype)


def log_softmax(input: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    """Return log-softmax, half to float in one kernel, as ATen/native/SoftMax.cpp does for CUDA."""
    return _softmax(aten._log_softmax, input, dim, dtype)


def _softmax(op: Any, input: Tensor, dim: int, dtype: torch.dtype | None) -> Tensor:
    half_to_float = input.dtype == torch.float16 and dtype == torch.float32
    if dtype is not None and not half_to_float:
        input = input.to(dtype)
    out: Tensor = op(input, dim, half_to_float)
    return out


def batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    """Return batch norm by cuDNN where ATen/native/Normalization.cpp would use it, else by torch's own kernel."""
    by_cudnn = (
        cudnn_enabled
        and torch.backends.cudnn.enabled
        and input.dtype in (torch.float16, torch.float32)
        and weight is not None
        and bias is not None
        and weight.dtype == torch.float32
        and (running_mean is None) == (running_var is None)
        and (running_mean is not None or training)
        and input.dim() >= 3
        and input.shape[0] <= (_CUDNN_LARGEST_BATCH_TRAINING if training else _CUDNN_LARGEST_BATCH)
        and input.numel() < 2**31 - 1
    )
    if by_cudnn:
        packed = torch.channels_last if _is_channels_last(input) else torch.contiguous_format
        normed: Tensor = aten.cudnn_batch_norm(
            input.contiguous(memory_format=packed), weight, bias, running_mean, running_var, training, momentum, eps
        )[0]
        return normed
    plain: Tensor = aten.native_batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)[0]
    return plain


_CUDNN_LARGEST_BATCH_TRAINING = 880_801
_CUDNN_LARGEST_BATCH = 65_535


def _is_channels_last(input: Tensor) -> bool:
    return input.dim() == 4 and not input.is_contiguous() and input.is_contiguous(memory_format=torch.channels_last)


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor,
    target_lengths: Tensor,
    blank: int = 0,
    reduction: int = 1,
    zero_infinity: bool = False,
) -> Tensor:
    """Return the CTC loss with its lengths read as numbers, as ATen/native/LossCTC.cpp does for plain tensors."""
    lengths = (input_lengths.cpu().tolist(), target_lengths.cpu().tolist())
    loss: Tensor = aten.ctc_loss.IntList(log_probs, targets, *lengths, blank, reduction, zero_infinity)
    return loss


KERNELS: dict[Any, Callable[..., Any]] = {
    aten.dropout.default: dropout,
    aten.softmax.int: softmax,
    aten.log_softmax.int: log_softmax,
    aten.batch_norm.default: batch_norm,
    aten.scaled_dot_product_attention.default: scaled_dot_product_attention,
    aten.ctc_loss.Tensor: ctc_loss,
    **RECURRENT_KERNELS,
}


# Composite operators that have a kernel of their own on CUDA (native_functions.yaml). A CPU-only torch lacks it and
# takes them apart; knowing of a kernel, the dispatcher leaves them whole. The phantom GPU answers before it is called.
_WHOLE_ON_CUDA = (aten.silu_backward.default, aten.mish_backward.default, aten._fused_rms_norm.default)


def install(library: torch.library.Library) -> None:
    """Register the kernels with `library`, which takes them away when it is destroyed."""
    for op, kernel in KERNELS.items():
        library.impl(op.name(), kernel, "AutogradCUDA", allow_override=True)
    for op in _WHOLE_ON_CUDA:
        library.impl(op.name(), _never_called, "CUDA", allow_override=True)


def _never_called(*args: Any, **kwargs: Any) -> Any:
    raise CaptureError("A CUDA kernel was called on the phantom GPU, which has none.")


def composite(op: Any) -> Callable[..., Any] | None:
    """Return what a composite operator does on CUDA, or None if `op` is not one.

    Autograd takes composite operators apart; in inference mode they arrive whole.
    """
    if op in _WHOLE_ON_CUDA:
        return None
    if op in KERNELS:
        return KERNELS[op]
    if torch._C._dispatch_has_kernel_for_dispatch_key(op.name(), "CompositeImplicitAutograd"):
        decompose: Callable[..., Any] = op.decompose
        return decompose
    return None
