"""Operators that compute every element alone: arithmetic, comparisons, activations and their gradients, dropout.

Each is one kernel that reads every input and writes every result once.
"""

from __future__ import annotations

from whichgpu.graph import Op, Tensor
from whichgpu.work.kernel import Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import RANDOM, SPECIAL, fill, lies_like, over, written_tensors

_S = SPECIAL

# FLOPs an element. Comparisons, choices, and integer and logical operations count like additions: they take the same
# pipes. A special function (exponential, logarithm, sine, root, division) counts 8, after its throughput, and functions
# made of several as many. Formulas are those of torch's kernels (ATen/native/cuda/Unary*.cu, Activation*.cu and so on).
# First those that exist in place, too: "add" and "add_".
FLOPS: dict[str, int] = {
    **dict.fromkeys(("abs", "neg", "sign", "sgn", "ceil", "floor", "round", "trunc", "frac", "relu", "mul"), 1),
    **dict.fromkeys(("add", "sub", "clamp_min", "clamp_max", "deg2rad", "rad2deg", "nan_to_num", "copysign"), 1),
    **dict.fromkeys(("heaviside", "conj_physical", "tril", "triu", "masked_fill"), 1),
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge"), 1),
    **dict.fromkeys(("logical_and", "logical_or", "logical_xor", "logical_not"), 1),
    **dict.fromkeys(("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not"), 1),
    **dict.fromkeys(("bitwise_left_shift", "bitwise_right_shift"), 1),
    **dict.fromkeys(("clamp", "hardtanh", "threshold", "nextafter", "_add_relu"), 2),
    **dict.fromkeys(("addcmul", "lerp", "leaky_relu", "hardsigmoid", "xlogy"), 3),
    "hardswish": 4,
    **dict.fromkeys(("div", "reciprocal", "sqrt", "rsqrt", "exp", "exp2", "log", "log2", "log10", "sin", "cos"), _S),
    **dict.fromkeys(("floor_divide", "fmod", "remainder", "ldexp"), 1 + _S),
    "addcdiv": 2 + _S,
    "tanh": _S,
    **dict.fromkeys(("expm1", "log1p", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh"), 2 * _S),
    **dict.fromkeys(("atanh", "atan2", "erf", "erfc", "erfinv", "pow", "hypot", "sinc", "logit"), 2 * _S),
    **dict.fromkeys(("lgamma", "digamma", "mvlgamma", "polygamma", "i0"), 4 * _S),
    **dict.fromkeys(("igamma", "igammac"), 8 * _S),
    # sigmoid is 1 / (1 + exp(-x)); silu x sigmoid(x); gelu x (1 + erf(x / sqrt 2)) / 2; mish x tanh(log(1 + exp(x)))
    "sigmoid": 2 + 2 * _S,
    "silu": 3 + 2 * _S,
    "gelu": 4 + 2 * _S,
    "mish": 2 + 3 * _S,
    **dict.fromkeys(("elu", "celu"), 4 + _S),
    "rrelu_with_noise": 2 + RANDOM,
}
# Those that do not.
FLOPS_OF_NEW: dict[str, int] = {
    **dict.fromkeys(("maximum", "minimum", "fmax", "fmin", "signbit", "rsub", "where"), 1),
    **dict.fromkeys(("isnan", "isinf", "isposinf", "isneginf", "__lshift__", "__rshift__"), 1),
    **dict.fromkeys(("complex", "angle", "threshold_backward", "hardtanh_backward", "native_dropout_backward"), 2),
    **dict.fromkeys(("_masked_scale", "rrelu_with_noise_backward"), 2),
    **dict.fromkeys(("leaky_relu_backward", "hardswish_backward", "hardsigmoid_backward", "_prelu_kernel"), 3),
    **dict.fromkeys(("hardshrink", "softshrink", "hardshrink_backward", "softshrink_backward"), 3),
    **dict.fromkeys(("tanh_backward", "sigmoid_backward"), 3),
    "_prelu_kernel_backward": 4,
    "frexp": 1 + _S,
    **dict.fromkeys(("logaddexp", "logaddexp2", "polar"), 3 + 2 * _S),
    **dict.fromkeys(("softplus", "softplus_backward", "log_sigmoid_forward"), 3 + 2 * _S),
    "log_sigmoid_backward": 6 + 2 * _S,
    "logit_backward": 3 + _S,
    "elu_backward": 4 + _S,
    "glu": 3 + 2 * _S,
    "glu_backward": 7 + 2 * _S,
    "silu_backward": 6 + 2 * _S,
    "gelu_backward": 8 + 3 * _S,
    "mish_backward": 8 + 4 * _S,
    **dict.fromkeys(("special_entr", "special_xlog1py"), 3 + 2 * _S),
    **dict.fromkeys(("special_erfcx", "special_i0e", "special_i1", "special_i1e", "special_ndtri"), 4 * _S),
    **dict.fromkeys(("special_log_ndtr", "special_zeta", "_standard_gamma_grad", "_dirichlet_grad"), 8 * _S),
    # scale, round, bound, scale back, and the mask of what was not cut off
    **dict.fromkeys(("fake_quantize_per_tensor_affine_cachemask", "fake_quantize_per_channel_affine_cachemask"), 6),
    "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams": 6,
}
# Filling with random numbers: bits by Philox, then a scale, a comparison or a transformation (Box and Muller, -log u).
_DRAW_FLOPS: dict[str, int] = {
    **dict.fromkeys(("uniform_", "rand", "rand_like", "random_", "randint", "randint_like", "bernoulli_"), 2 + RANDOM),
    **dict.fromkeys(("geometric_", "exponential_", "cauchy_"), 2 + RANDOM + _S),
    **dict.fromkeys(("normal_", "randn", "randn_like", "log_normal_"), 2 + RANDOM + 2 * _S),
}
# Random numbers whose distribution is read: rejection takes some tries.
_DRAW_FROM_FLOPS: dict[str, int] = {
    "bernoulli": 2 + RANDOM,
    "normal": 4 + RANDOM + 2 * _S,
    **dict.fromkeys(("poisson", "binomial", "_standard_gamma", "_sample_dirichlet"), 8 * RANDOM),
}
_TABLE: dict[str, int] = {
    **{f"aten.{name}": flops for name, flops in (FLOPS | FLOPS_OF_NEW | _DRAW_FROM_FLOPS).items()},
    **{f"aten.{name}_": flops for name, flops in FLOPS.items()},
}


@counts(*_TABLE)
def elementwise(op: Op) -> Work:
    """(...), broadcast, -> (...).

    Counts: FLOPs by the table above times the elements of the result; inputs read and results written once, a broadcast
        input once for each of its own elements. Where an input does not lie in the order of the result the kernel is of
        kind "copy": it walks through memory in jumps.
    Leaves out: conversions between number formats, which are no arithmetic.
    Source: ATen/native/cuda/Loops.cuh.
    """
    result = written_tensors(op)[0]
    flops = _TABLE[op.base_name] * result.numel
    jumps = any(not lies_like(t, result) for t in op.input_tensors())
    return Work((over(op, "copy" if jumps else "elementwise", flops),))


@counts(*(f"aten.{name}" for name in _DRAW_FLOPS))
def draw(op: Op) -> Work:
    """Return (...) random numbers, in new memory or in place.

    Counts: FLOPs by the table above; the result written once, nothing read.
    Leaves out: that some distributions take more than one draw.
    Source: ATen/native/cuda/DistributionTemplates.h.
    """
    flops = _DRAW_FLOPS[op.base_name.removeprefix("aten.")] * sum(t.numel for t in written_tensors(op))
    return Work((over(op, "elementwise", flops, read=op.tensors("p")),))


@counts("aten.native_dropout", "aten._fused_dropout")
def dropout(op: Op) -> Work:
    """(...) -> (...) and a mask of a byte an element, in one kernel.

    Counts: a random number, a comparison and two products, 28 FLOPs an element; nothing is drawn at p = 1.
    Source: ATen/native/cuda/Dropout.cu.
    """
    if op.attributes.get("p") == 1:
        return Work(tuple(fill(t) for t in op.output_tensors()))
    return Work((over(op, "elementwise", (3 + RANDOM) * op.output().numel),))


@counts("aten.isin")
def isin(op: Op) -> Work:
    """Elements (n,) and tests (t,) -> (n,): every element compared with every test.

    Counts: 2 n t FLOPs, for few tests; the tests are read from a cache.
    Source: ATen/native/cuda/TensorCompare.cu (isin_default_kernel_gpu).
    """
    tests = sum(t.numel for t in op.tensors("test_elements")) or 1
    return Work((over(op, "elementwise", 2 * op.output().numel * tests),))


@counts("aten._weight_norm_interface", "aten._weight_norm_interface_backward")
def weight_norm(op: Op) -> Work:
    """Directions v and lengths g -> g v / |v| and |v|, or their gradients, one block a row.

    Counts: two passes over v (and its gradient), 4 FLOPs an element forward, 8 backward.
    Source: ATen/native/cuda/WeightNorm.cu.
    """
    rows: list[Tensor] = sorted(op.input_tensors(), key=lambda t: -t.numel)
    is_backward = op.base_name.endswith("backward")
    again = rows[: 2 if is_backward else 1]
    return Work((over(op, "normalization", (8 if is_backward else 4) * rows[0].numel, read=(*rows, *again)),))
