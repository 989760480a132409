"""Updates of many tensors at once: foreach operators, fused optimizers, gradient scaling.

torch packs tensors into launches (multi_tensor_apply): a launch takes so many tensors and so many blocks, a block being
a chunk of 65,536 elements, whichever is full first.
"""

from __future__ import annotations

from collections.abc import Iterable

from whichgpu.graph import Op, Tensor
from whichgpu.work.elementwise import FLOPS, FLOPS_OF_NEW
from whichgpu.work.kernel import Kernel, Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import SPECIAL, bytes_of, fill, is_dense

# What one launch holds, by the number of tensor lists it walks through together.
# Source: ATen/native/cuda/MultiTensorApply.cuh of torch 2.13, for CUDA 13 and newer, whose kernels take 32 KiB of
# arguments. Builds for CUDA 12 and ROCm hold a seventh: (110, 64, 48, 36, 30) tensors, 96 with numbers, 320 blocks.
CHUNK = 65536
MAX_TENSORS = (770, 448, 336, 252, 210)
MAX_TENSORS_WITH_NUMBERS = (672, 448, 336, 252, 210)
MAX_BLOCKS = 2240
# Results of norms that one launch finishes. Source: ATen/native/cuda/ForeachReduceOp.cu.
_FINISHED_BY_ONE_LAUNCH = 400

_UNARY = (
    *("abs", "acos", "asin", "atan", "ceil", "cos", "cosh", "erf", "erfc", "exp", "expm1", "floor", "frac", "lgamma"),
    *("log", "log10", "log1p", "log2", "neg", "reciprocal", "round", "rsqrt", "sigmoid", "sign", "sin", "sinh", "sqrt"),
    *("tan", "tanh", "trunc"),
)
_OTHER = (
    "add",
    "sub",
    "mul",
    "div",
    "clamp_max",
    "clamp_min",
    "maximum",
    "minimum",
    "pow",
    "addcmul",
    "addcdiv",
    "lerp",
)
_FOREACH = {
    f"aten._foreach_{name}{tail}": (FLOPS | FLOPS_OF_NEW)[name] for name in (*_UNARY, *_OTHER) for tail in ("", "_")
} | {"aten._foreach_zero_": 0, "aten._foreach_copy_": 0}
# Those that do not read what they write.
_OVERWRITING = frozenset({"aten._foreach_zero_", "aten._foreach_copy_"})

# Fused optimizer -> FLOPs an element (moments, root, quotient, weight decay, update), and the lists it walks through.
_ADAM = (14 + 2 * SPECIAL, ("self", "grads", "exp_avgs", "exp_avg_sqs", "max_exp_avg_sqs"))
_FUSED = {
    "aten._fused_adam_": _ADAM,
    "aten._fused_adamw_": _ADAM,
    "aten._fused_sgd_": (6, ("self", "grads", "momentum_buffer_list")),
    "aten._fused_adagrad_": (6 + 2 * SPECIAL, ("self", "grads", "state_sums")),
}


def multi_tensor_launches(numels: Iterable[int], max_tensors: int, max_blocks: int = MAX_BLOCKS) -> int:
    """Return how many launches multi_tensor_apply makes for lists of tensors with `numels` elements.

    Args:
        numels: Elements of each tensor; empty ones are skipped.
        max_tensors: Tensors a launch takes.
        max_blocks: Blocks a launch takes; a tensor with more chunks goes on in the next.
    """
    launches = tensors = blocks = 0
    for numel in numels:
        if not numel:
            continue
        tensors += 1
        full, blocks = divmod(blocks + -(-numel // CHUNK), max_blocks)
        launches += full
        if full:
            # What a full launch has finished leaves its list; a tensor it cut begins the next one's.
            tensors = 1 if blocks else 0
        if tensors == max_tensors:
            launches += 1
            tensors = blocks = 0
    return launches + (blocks > 0)


@counts(*_FOREACH)
def foreach(op: Op) -> Work:
    """Lists of tensors (...) -> a list, or in place: each like the operator of the same name on single tensors.

    Counts: FLOPs of that operator; every list read and the result written once. As many launches as multi_tensor_apply
        makes; a kernel a tensor where tensors of one place differ in size, order or number format, or have gaps.
    Source: ATen/native/cuda/Foreach*.cu, MultiTensorApply.cuh; ATen/native/ForeachUtils.h (can_use_fast_route).
    """
    lists = _lists(op)
    result = tuple(op.output_tensors()) or lists[0]
    read = lists[1:] if op.base_name in _OVERWRITING else lists
    flops = _FOREACH[op.base_name]
    if not _takes_fast_route(lists, may_convert=op.base_name == "aten._foreach_copy_"):
        return Work(_one_by_one(read, result, flops))
    depth = len(lists) + (1 if op.outputs else 0)
    numbers = op.name.endswith(".ScalarList")
    factors = tuple(t for t in op.inputs.values() if isinstance(t, Tensor))
    return Work((_packed(lists[0], flops, depth, (*read, factors), (result,), numbers=numbers),))


@counts("aten._foreach_norm", "aten._foreach_max", "aten._foreach_powsum")
def foreach_norm(op: Op) -> Work:
    """A list of tensors (...) -> a list of scalars.

    Counts: zeros for what chunks add up to, 2 FLOPs an element with everything read once, and a kernel that finishes up
        to 400 results.
    Source: ATen/native/cuda/ForeachReduceOp.cu.
    """
    tensors, results = op.tensors("self"), tuple(op.output_tensors())
    if not _takes_fast_route((tensors,)):
        return Work(_one_by_one((tensors,), results, 2))
    chunks = max(-(-t.numel // CHUNK) for t in tensors)
    partial = Tensor((len(tensors), chunks), "float32")
    finish = Kernel(
        "reduction",
        partial.dtype,
        flops=float(partial.numel),
        bytes_read=float(partial.nbytes),
        bytes_written=float(bytes_of(results)),
        launches=-(-len(tensors) // _FINISHED_BY_ONE_LAUNCH),
    )
    return Work((fill(partial), _packed(tensors, 2, 1, (tensors,), ((partial,),)), finish))


@counts(*_FUSED)
def fused_optimizer(op: Op) -> Work:
    """Parameters, gradients and state (...) each -> updated in place.

    Counts: FLOPs by the table above; every list read once, parameters and state written once, and gradients, too, where
        they are unscaled on the way.
    Source: ATen/native/cuda/fused_adam_utils.cuh, FusedSgdKernel.cu, fused_adagrad_utils.cuh.
    """
    flops, names = _FUSED[op.base_name]
    lists = {name: tensors for name in names if (tensors := op.tensors(name))}
    written = [tensors for name, tensors in lists.items() if name != "grads" or "grad_scale" in op.inputs]
    steps = op.tensors("state_steps")
    return Work((_packed(lists["self"], flops, len(lists), (*lists.values(), steps), written),))


@counts("aten._amp_foreach_non_finite_check_and_unscale_")
def unscale(op: Op) -> Work:
    """A list of gradients (...) -> unscaled in place, with a note whether any is not finite.

    Counts: a product and a check, 2 FLOPs an element; read and written once.
    Source: ATen/native/cuda/AmpKernels.cu.
    """
    tensors = op.tensors("self")
    if not _takes_fast_route((tensors,)):
        return Work(_one_by_one((tensors,), tensors, 2))
    return Work((_packed(tensors, 2, 1, (tensors,), (tensors,)),))


@counts("aten._amp_update_scale_")
def update_scale(op: Op) -> Work:
    """Scale and growth tracker -> updated in place, by one thread.

    Source: ATen/native/cuda/AmpKernels.cu.
    """
    nbytes = float(bytes_of(op.input_tensors()))
    return Work((Kernel("elementwise", "float32", 4.0, nbytes, nbytes),))


def _lists(op: Op) -> tuple[tuple[Tensor, ...], ...]:
    """Return the list arguments."""
    return tuple(op.tensors(name) for name, value in op.inputs.items() if isinstance(value, tuple))


def _packed(
    first: tuple[Tensor, ...],
    flops: int,
    depth: int,
    read: Iterable[tuple[Tensor, ...]],
    written: Iterable[tuple[Tensor, ...]],
    *,
    numbers: bool = False,
) -> Kernel:
    """Return the launches of multi_tensor_apply over `depth` lists, with `flops` an element of the first."""
    most = (MAX_TENSORS_WITH_NUMBERS if numbers else MAX_TENSORS)[depth - 1]
    return Kernel(
        "optimizer",
        first[0].dtype,
        flops=float(flops * sum(t.numel for t in first)),
        bytes_read=float(sum(bytes_of(tensors) for tensors in read)),
        bytes_written=float(sum(bytes_of(tensors) for tensors in written)),
        launches=max(1, multi_tensor_launches((t.numel for t in first), most)),
    )


def _one_by_one(read: tuple[tuple[Tensor, ...], ...], result: tuple[Tensor, ...], flops: int) -> tuple[Kernel, ...]:
    """Return a kernel for each tensor of `result`."""
    return tuple(
        Kernel(
            "elementwise",
            target.dtype,
            flops=float(flops * max(t.numel for t in (target, *sources))),
            bytes_read=float(bytes_of(sources)),
            bytes_written=float(target.nbytes),
        )
        for target, *sources in zip(result, *read, strict=True)
    )


def _takes_fast_route(lists: tuple[tuple[Tensor, ...], ...], *, may_convert: bool = False) -> bool:
    """Return whether multi_tensor_apply takes these lists: tensors of one place alike, all dense, one number format."""
    first = lists[0]
    dtype = first[0].dtype
    for place in zip(*lists, strict=True):
        model = place[0]
        if not is_dense(model) or model.dtype != dtype:
            return False
        for other in place[1:]:
            if other.shape != model.shape or other.stride != model.stride:
                return False
            if other.dtype != dtype and not may_convert:
                return False
    return True
