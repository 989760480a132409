"""Losses that are operators of their own: negative log-likelihood, squares, cross-entropies, CTC, margins."""

from __future__ import annotations

from whichgpu.graph import Op, Tensor
from whichgpu.work.kernel import Kernel, Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import SPECIAL, fill, over

# Loss -> FLOPs an element, before it is reduced, and of its gradient.
_PAIRWISE_FLOPS = {
    "aten.mse_loss": (2, 3),
    "aten.smooth_l1_loss": (6, 6),
    "aten.huber_loss": (6, 6),
    "aten.binary_cross_entropy": (5 + 2 * SPECIAL, 5 + SPECIAL),
}
_MEAN = 1


@counts(*_PAIRWISE_FLOPS)
def pairwise_loss(op: Op) -> Work:
    """Prediction and target (...) -> a scalar, or (...) without reduction.

    Counts: a kernel that writes the loss of every element, then one that reduces it.
    Source: ATen/native/BinaryOps.cpp, Loss.cpp.
    """
    prediction = op.tensor("self")
    flops = _PAIRWISE_FLOPS[op.base_name][0] * prediction.numel
    return Work(_reduced(op, (over(op, "elementwise", flops, written=(prediction,)),), prediction))


@counts(*(f"{name}_backward" for name in _PAIRWISE_FLOPS))
def pairwise_loss_backward(op: Op) -> Work:
    """Gradient (...) of a pairwise loss: one kernel.

    Source: ATen/native/PointwiseOps.cpp.
    """
    flops = _PAIRWISE_FLOPS[op.base_name.removesuffix("_backward")][1]
    return Work((over(op, "elementwise", flops * op.output().numel),))


@counts("aten.binary_cross_entropy_with_logits")
def binary_cross_entropy_with_logits(op: Op) -> Work:
    """Logits and target (...) -> a scalar, or (...) without reduction.

    Counts: (1 - target) x logits - log sigmoid(logits), four kernels of one pass each, one more for a weight and for a
        positive weight, and the reduction.
    Source: ATen/native/Loss.cpp.
    """
    logits, target = op.tensor("self"), op.tensor("target")
    n = logits.numel
    kernels = [
        over(op, "elementwise", n, read=(target,), written=(logits,)),
        over(op, "elementwise", n, read=(logits, logits), written=(logits,)),
        over(op, "elementwise", (3 + 2 * SPECIAL) * n, read=(logits,), written=(logits,)),
        over(op, "elementwise", n, read=(logits, logits), written=(logits,)),
    ]
    for name in ("weight", "pos_weight"):
        if name in op.inputs:
            kernels.append(over(op, "elementwise", n, read=(logits, op.tensor(name)), written=(logits,)))
    return Work(_reduced(op, tuple(kernels), logits))


@counts("aten.soft_margin_loss")
def soft_margin_loss(op: Op) -> Work:
    """Prediction and target (...) -> a scalar: log(1 + exp(-target x prediction)), one kernel an operation.

    Source: ATen/native/Loss.cpp.
    """
    prediction = op.tensor("self")
    n = prediction.numel
    one = over(op, "elementwise", SPECIAL * n, read=(prediction,), written=(prediction,))
    product = over(op, "elementwise", n, written=(prediction,))
    return Work(_reduced(op, (product, one, one, one), prediction))


@counts("aten.soft_margin_loss_backward")
def soft_margin_loss_backward(op: Op) -> Work:
    """Gradient (...) of the soft margin loss: z = exp(-target x prediction), -target z / (1 + z) times the gradient.

    Counts: six kernels of one pass each.
    Source: ATen/native/Loss.cpp.
    """
    out = op.output()
    one = over(op, "elementwise", 2 * out.numel, read=(out, out), written=(out,))
    return Work((one,) * 6)


@counts("aten.nll_loss_forward", "aten.nll_loss2d_forward")
def nll_loss(op: Op) -> Work:
    """Log-probabilities (n, c) or (n, c, h, w) and targets (n,) or (n, h, w) -> a scalar and the total weight.

    Counts: one kernel that reads the targets and for each the one log-probability it points at; 2 FLOPs a target.
    Leaves out: that memory hands out 32 bytes where 4 are wanted; the 2-D form's fill of its two results.
    Source: ATen/native/cuda/Loss.cu, NLLLoss2d.cu.
    """
    target = op.tensor("target")
    picked = Tensor(target.shape, op.tensor("self").dtype)
    return Work((over(op, "softmax", 2 * target.numel, read=(target, picked, *op.tensors("weight"))),))


@counts("aten.nll_loss_backward", "aten.nll_loss2d_backward")
def nll_loss_backward(op: Op) -> Work:
    """Gradient (n, c) of `nll_loss`: zeros, and one number for each target.

    Source: ATen/native/cuda/Loss.cu, NLLLoss2d.cu.
    """
    out, target = op.output(), op.tensor("target")
    picked = Tensor(target.shape, out.dtype)
    read = (target, *op.tensors("weight"), *op.tensors("grad_output"))
    return Work((fill(out), over(op, "softmax", target.numel, read=read, written=(picked,))))


@counts("aten.multi_margin_loss", "aten.multilabel_margin_loss_forward")
def margin_loss(op: Op) -> Work:
    """Scores (n, c) and targets -> a scalar: one block a row, then the sum over rows.

    Counts: 4 FLOPs a score.
    Source: ATen/native/cuda/MultiMarginLoss.cu, MultiLabelMarginCriterion.cu.
    """
    scores = op.tensor("self")
    rows = Tensor(scores.shape[:1], scores.dtype)
    of_rows = over(op, "reduction", 4 * scores.numel, written=(rows,))
    return Work((of_rows, over(op, "reduction", rows.numel, read=(rows,), written=(op.output(),))))


@counts("aten.multi_margin_loss_backward", "aten.multilabel_margin_loss_backward")
def margin_loss_backward(op: Op) -> Work:
    """Gradient (n, c) of a margin loss: one kernel.

    Counts: 4 FLOPs a score.
    Source: as `margin_loss`.
    """
    return Work((over(op, "reduction", 4 * op.output().numel),))


@counts("aten._ctc_loss")
def ctc_loss(op: Op) -> Work:
    """Log-probabilities (t, n, c), targets of up to s letters -> loss (n,), log alpha (n, t, 2 s + 1).

    Counts: one kernel that walks through time; an entry of log alpha takes three exponentials, a logarithm and 6
        additions, reads one log-probability and three earlier entries, which are still in the cache.
    Leaves out: that the t steps run one after the other, each shorter than a kernel.
    Source: ATen/native/cuda/LossCTC.cu.
    """
    return Work((_lattice(op, op.output(1), written=(op.output(0), op.output(1))),))


@counts("aten._ctc_loss_backward")
def ctc_loss_backward(op: Op) -> Work:
    """Gradient (t, n, c) of `ctc_loss`.

    Counts: a kernel like the forward one, for log beta; a fill of log beta and of the gradient; and a kernel that adds
        log alpha and log beta of every entry to the gradient of its letter.
    Leaves out: as `ctc_loss`.
    Source: ATen/native/cuda/LossCTC.cu.
    """
    alpha, grad, log_probs = op.tensor("log_alpha"), op.output(), op.tensor("log_probs")
    collect = (3 + SPECIAL) * (alpha.numel + grad.numel)
    return Work(
        (
            fill(alpha),
            _lattice(op, alpha, written=(alpha,)),
            fill(grad),
            over(op, "gather", collect, read=(alpha, alpha, log_probs, grad), written=(grad,)),
        )
    )


def _lattice(op: Op, alpha: Tensor, written: tuple[Tensor, ...]) -> Kernel:
    read = (Tensor(alpha.shape, alpha.dtype), *op.tensors("targets"))
    return over(op, "gather", (6 + 4 * SPECIAL) * alpha.numel, read=read, written=written)


def _reduced(op: Op, kernels: tuple[Kernel, ...], each: Tensor) -> tuple[Kernel, ...]:
    """Return `kernels` and, unless the loss is wanted for every element, the one that sums it up."""
    if not op.attributes.get("reduction", _MEAN):
        return kernels
    return (*kernels, over(op, "reduction", each.numel, read=(each,), written=(op.output(),)))
