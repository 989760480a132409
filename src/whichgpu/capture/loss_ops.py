"""Losses and draws whose operators have no meta kernel: what they return on the phantom GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from whichgpu.capture.op_traits import traits_of
from whichgpu.capture.special_ops import Handler, handler_table

if TYPE_CHECKING:
    from whichgpu.capture.fake_device import FakeDevice

aten = torch.ops.aten
HANDLERS: dict[Any, Handler] = {}
handles = handler_table(HANDLERS)

# Operators that return a tensor of the shape and dtype of one argument, mostly its gradient, and that argument's place.
_LIKE = {
    aten._sample_dirichlet.default: 0,
    aten._dirichlet_grad.default: 0,
    aten._standard_gamma.default: 0,
    aten._standard_gamma_grad.default: 0,
    aten.poisson.default: 0,
    aten.binomial.default: 0,
    aten._ctc_loss_backward.default: 1,
    aten._ctc_loss_backward.Tensor: 1,
    aten.multi_margin_loss_backward.default: 1,
    aten.multilabel_margin_loss_backward.default: 1,
}


@handles(*_LIKE)
def _gradient(device: FakeDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    like = args[_LIKE[func]]
    return device.recorded(traits_of(func), args, kwargs, device.new(like.shape, like.dtype))


@handles(
    aten.fake_quantize_per_tensor_affine_cachemask.default,
    aten.fake_quantize_per_channel_affine_cachemask.default,
    aten._fake_quantize_per_tensor_affine_cachemask_tensor_qparams.default,
)
def _fake_quantize(device: FakeDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    like = args[0]
    out = (device.new(like.shape, like.dtype), device.new(like.shape, torch.bool))
    return device.recorded(traits_of(func), args, kwargs, out)


@handles(aten._use_cudnn_ctc_loss.default, aten._use_cudnn_ctc_loss.Tensor)
def _use_cudnn_ctc_loss(device: FakeDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # cuDNN's needs the targets on the CPU and no blank but 0; most training code keeps torch's own.
    return False


@handles(aten._ctc_loss.default, aten._ctc_loss.Tensor)
def _ctc_loss(device: FakeDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """(t, n, c) log-probabilities and targets of at most s letters -> loss (n,), log_alpha (n, t, 2 s + 1)."""
    log_probs, targets, _, target_lengths = args[:4]
    steps, batch, _ = log_probs.shape
    lengths = target_lengths if isinstance(target_lengths, (list, tuple)) else target_lengths.tolist()
    longest = max(lengths, default=0) or targets.shape[-1]
    loss = device.new((batch,), log_probs.dtype)
    log_alpha = device.new((batch, steps, 2 * longest + 1), log_probs.dtype)
    return device.recorded(traits_of(func), args, kwargs, (loss, log_alpha))
