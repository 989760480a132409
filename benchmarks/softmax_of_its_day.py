"""Softmax as it was until torch 1.11: it kept its input beside its result for the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def softmax_of_torch_1_10() -> Iterator[None]:
    """Let softmax and its logarithm keep their input, too.

    From 1.11 on `_softmax_backward_data` takes the input's number format alone.
    Source: tools/autograd/derivatives.yaml of torch 1.10 and 1.11.
    """
    import torch
    from torch.nn import functional

    def keeping(forward: Callable[..., Any], backward: Callable[..., Any]) -> Any:
        class Softmax(torch.autograd.Function):  # type: ignore[misc]
            @staticmethod
            def forward(ctx: Any, x: Any, dim: int) -> Any:
                y = forward(x, dim, False)
                ctx.save_for_backward(x, y)
                ctx.dim = dim
                return y

            @staticmethod
            def backward(ctx: Any, grad: Any) -> Any:
                x, y = ctx.saved_tensors
                return backward(grad, y, ctx.dim, x.dtype), None

        # Under autocast it computes in float32.
        return lambda x, dim=-1, _stacklevel=3, dtype=None: Softmax.apply(x.float(), dim)

    log_softmax = keeping(torch._log_softmax, torch._log_softmax_backward_data)

    def cross_entropy(logits: Any, labels: Any, *args: Any, label_smoothing: float = 0.0, **more: Any) -> Any:
        if label_smoothing:
            raise NotImplementedError("smoothed labels, which none of these jobs has")
        return functional.nll_loss(log_softmax(logits, 1), labels, *args, **more)

    before = functional.softmax, functional.cross_entropy
    functional.softmax = keeping(torch._softmax, torch._softmax_backward_data)
    functional.cross_entropy = cross_entropy  # type: ignore[assignment]
    try:
        yield
    finally:
        functional.softmax, functional.cross_entropy = before
