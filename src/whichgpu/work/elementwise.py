"""Ops that compute each element by itself, from a table of FLOPs an element."""

from __future__ import annotations

from whichgpu.graph import Op
from whichgpu.work.kernel import Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import bytes_read, bytes_written, largest, streaming

# FLOPs an element, a transcendental function counted as the few instructions it compiles to. They hardly matter: below
# some 10 FLOPs an element memory bandwidth decides on every device.
_FLOPS_PER_ELEMENT: dict[float, str] = {
    0.0: "abs alias_copy bitwise_and bitwise_not bitwise_or bitwise_xor ceil eq floor ge gt isfinite isinf isnan isneginf "
    "isposinf le logical_and logical_not logical_or logical_xor lt ne neg positive round sgn sign signbit trunc "
    "masked_fill where bitwise_left_shift bitwise_right_shift",
    1.0: "add sub rsub mul relu relu6 threshold threshold_backward maximum minimum fmax fmin clamp clamp_min clamp_max "
    "hardtanh hardtanh_backward hardshrink softshrink square native_dropout_backward dropout prelu _prelu_kernel "
    "leaky_relu leaky_relu_backward lerp floor_divide frac",
    2.0: "addcmul native_dropout bernoulli hardswish hardswish_backward hardsigmoid hardsigmoid_backward "
    "mse_loss_backward smooth_l1_loss_backward huber_loss_backward tanh_backward sigmoid_backward",
    4.0: "div addcdiv reciprocal sqrt rsqrt exp exp2 expm1 log log2 log10 log1p remainder fmod elu elu_backward "
    "logit_backward _prelu_kernel_backward",
    8.0: "sigmoid tanh sin cos tan asin acos atan sinh cosh asinh acosh atanh pow silu silu_backward softplus "
    "softplus_backward log_sigmoid_forward log_sigmoid_backward logaddexp logaddexp2 atan2 hypot xlogy sinc celu logit "
    "binary_cross_entropy_backward glu glu_backward",
    12.0: "gelu gelu_backward erf erfc erfinv mish mish_backward lgamma digamma polar",
}


def _names() -> dict[str, float]:
    flops = {name: cost for cost, names in _FLOPS_PER_ELEMENT.items() for name in names.split()}
    return {f"aten.{name}{suffix}": cost for name, cost in flops.items() for suffix in ("", "_")}


_FLOPS = _names()


@counts(*_FLOPS)
def elementwise(op: Op) -> Work:
    """Each result element from the elements at its place, broadcast where shapes differ.

    Counts: the FLOPs an element of its table row; every input read and every result written once.
    Leaves out: reading a broadcast input more than once.
    Source: ATen/native/cuda/Loops.cuh (one launch, vectorized).
    """
    return streaming(op, "elementwise", _FLOPS[op.base_name] * largest(op).numel)


@counts("aten._to_copy", "aten.to", "aten.type_as", "aten._autocast_to_reduced_precision")
def cast(op: Op) -> Work:
    """(*shape) -> (*shape) in another dtype or memory format.

    Counts: input read and result written once; a change of memory format is a permuting copy.
    Leaves out: nothing of note.
    Source: ATen/native/cuda/Copy.cu.
    """
    source, result = op.tensor("self"), op.output()
    same_order = source.stride == result.stride or (source.is_contiguous and result.is_contiguous)
    return streaming(op, "elementwise" if same_order else "copy")


@counts(
    "aten.fill", "aten.fill_", "aten.zero_", "aten.zero", "aten.zeros", "aten.ones", "aten.full", "aten.zeros_like",
    "aten.ones_like", "aten.full_like", "aten.new_zeros", "aten.new_ones", "aten.new_full", "aten.scalar_tensor",
    "aten.arange", "aten.linspace", "aten.eye", "aten.tril_indices", "aten.triu_indices", "aten.one_hot",
)  # fmt: skip
def fill(op: Op) -> Work:
    """() -> (*shape), every element written.

    Counts: the result written once, nothing read.
    Leaves out: nothing of note.
    Source: ATen/native/cuda/FillKernel.cu.
    """
    return streaming(op, "elementwise", read=0.0)


@counts(
    "aten.rand", "aten.randn", "aten.rand_like", "aten.randn_like", "aten.randint", "aten.randint_like", "aten.normal",
    "aten.normal_", "aten.uniform_", "aten.uniform", "aten.random_", "aten.bernoulli_.float", "aten.exponential_",
    "aten.randperm",
)  # fmt: skip
def random(op: Op) -> Work:
    """() -> (*shape) of random numbers.

    Counts: about 20 FLOPs an element (Philox and a transformation); the result written once.
    Leaves out: the sort of randperm.
    Source: ATen/native/cuda/DistributionTemplates.h.
    """
    return streaming(op, "elementwise", 20.0 * largest(op).numel, read=0.0)


@counts("aten.mse_loss", "aten.l1_loss", "aten.smooth_l1_loss", "aten.huber_loss", "aten.binary_cross_entropy",
        "aten.binary_cross_entropy_with_logits")  # fmt: skip
def pointwise_loss(op: Op) -> Work:
    """(*shape), (*shape) -> () or (*shape).

    Counts: 3 FLOPs an element; both read once, the differences written and read again where they are then reduced, in
    two launches.
    Leaves out: the second stage of a long reduction.
    Source: ATen/native/Loss.cpp (an elementwise kernel, then mean or sum).
    """
    wide = largest(op)
    reduced = op.output().numel < wide.numel
    between = float(wide.nbytes) if reduced else 0.0
    return streaming(
        op,
        "elementwise",
        3.0 * wide.numel,
        read=bytes_read(op) + between,
        written=bytes_written(op) + between,
        launches=2 if reduced else 1,
    )
