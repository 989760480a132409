"""Updates over lists of tensors: how PyTorch packs them into few launches."""

from __future__ import annotations

from whichgpu.graph import Op, Tensor
from whichgpu.work.kernel import Kernel, Work
from whichgpu.work.registry import counts

# ATen/native/cuda/MultiTensorApply.cuh: tensors a launch may name, by how many lists it runs over, and its blocks.
_MOST_TENSORS = {1: 110, 2: 64, 3: 48, 4: 36, 5: 30}
_MOST_BLOCKS = 320
_CHUNK_ELEMENTS = 65_536

_FLOPS_PER_ELEMENT = {
    "add": 2.0, "sub": 2.0, "mul": 1.0, "div": 4.0, "sqrt": 4.0, "rsqrt": 4.0, "reciprocal": 4.0, "exp": 8.0, "log": 8.0,
    "addcmul": 3.0, "addcdiv": 6.0, "lerp": 3.0, "neg": 0.0, "abs": 0.0, "sign": 0.0, "maximum": 1.0, "minimum": 1.0,
    "clamp_max": 1.0, "clamp_min": 1.0, "pow": 8.0, "zero": 0.0, "copy": 0.0, "norm": 2.0, "max": 1.0,
}  # fmt: skip
_FOREACH = {
    f"aten._foreach_{name}{suffix}": flops for name, flops in _FLOPS_PER_ELEMENT.items() for suffix in ("", "_")
}
# FLOPs an element, and lists of tensors besides parameter and gradient, of each fused optimizer.
_FUSED = {"adam": 15.0, "adamw": 16.0, "sgd": 6.0, "adagrad": 10.0}


def launches_for(sizes: list[int], lists: int) -> int:
    """Return how many launches multi_tensor_apply needs for tensors of `sizes` elements in each of `lists` lists."""
    most_tensors = _MOST_TENSORS[min(max(lists, 1), 5)]
    launches = tensors = blocks = 0
    for size in sizes:
        if not size:
            continue
        tensors += 1
        chunks = -(-size // _CHUNK_ELEMENTS)
        for chunk in range(chunks):
            blocks += 1
            last = chunk == chunks - 1
            if (tensors == most_tensors and last) or blocks == _MOST_BLOCKS:
                launches += 1
                blocks = 0
                # A tensor cut in two by a full launch is named again by the next one.
                tensors = 0 if last else 1
    return launches + (blocks > 0)


def _kernel(lists: list[tuple[Tensor, ...]], flops: float, read: float, written: float) -> Kernel:
    first = lists[0]
    numel = sum(t.numel for t in first)
    launches = launches_for([t.numel for t in first], len(lists))
    return Kernel("optimizer", first[0].dtype, flops * numel, read, written, launches=max(launches, 1))


def _bytes(tensors: tuple[Tensor, ...]) -> float:
    return float(sum(t.nbytes for t in tensors))


@counts(*_FOREACH)
def foreach(op: Op) -> Work:
    """Lists of n tensors in, n tensors changed or made.

    Counts: the FLOPs an element of its table row; every list read and the changed or new list written once; launches
    by multi_tensor_apply's limits (tensors, 320 blocks of 65,536 elements).
    Leaves out: lists that mix dtypes or strides, which go tensor by tensor.
    Source: ATen/native/cuda/MultiTensorApply.cuh.
    """
    lists = [v for v in (op.tensors(name) for name, value in op.inputs.items() if isinstance(value, tuple)) if v]
    results = tuple(op.output_tensors())
    if not lists:
        return Work()
    reads_self = op.base_name not in ("aten._foreach_zero_", "aten._foreach_copy_")
    read = sum(map(_bytes, lists if reads_self else lists[1:]))
    written = _bytes(results or lists[0])
    makes_list = bool(results) and sum(t.numel for t in results) >= sum(t.numel for t in lists[0])
    packed = [*lists, results] if makes_list else lists
    kernel = _kernel(packed, _FOREACH[op.base_name], read, written)
    if op.base_name in ("aten._foreach_norm", "aten._foreach_max"):
        partial = Kernel("reduction", kernel.dtype, float(len(lists[0])), written, written)
        return Work((kernel, partial))
    return Work((kernel,))


@counts(*(f"aten._fused_{name}{suffix}" for name in _FUSED for suffix in ("_", "")))
def fused(op: Op) -> Work:
    """Parameters, gradients and states (lists of n tensors) -> all updated in place.

    Counts: about 6 to 16 FLOPs an element; parameters, gradients and states read, parameters and states written once.
    Leaves out: nothing of note.
    Source: ATen/native/cuda/fused_adam_utils.cuh, FusedSgdKernel.cu.
    """
    name = op.base_name.removeprefix("aten._fused_").rstrip("_")
    parameters, gradients = op.tensors("self"), op.tensors("grads")
    states = [
        op.tensors(n)
        for n in ("exp_avgs", "exp_avg_sqs", "max_exp_avg_sqs", "momentum_buffer_list", "state_sums")
        if op.tensors(n)
    ]
    lists = [parameters, gradients, *states]
    read = sum(map(_bytes, lists))
    return Work((_kernel(lists, _FUSED[name], read, read - _bytes(gradients)),))


@counts("aten._amp_foreach_non_finite_check_and_unscale_")
def unscale(op: Op) -> Work:
    """Gradients (a list of n tensors) divided by the loss scale in place, and looked through for infinities.

    Counts: 2 FLOPs an element; read and written once.
    Leaves out: nothing of note.
    Source: ATen/native/cuda/AmpKernels.cu.
    """
    gradients = op.tensors("self")
    moved = _bytes(gradients)
    return Work((_kernel([gradients], 2.0, moved, moved),)) if gradients else Work()


@counts("aten._amp_update_scale_")
def update_scale(op: Op) -> Work:
    """The loss scale () and its growth tracker () updated.

    Counts: one launch over a few bytes.
    Leaves out: nothing.
    Source: ATen/native/cuda/AmpKernels.cu.
    """
    return Work((Kernel("elementwise", "float32", 2.0, 12.0, 8.0),))
