"""The bytes an op moves if every kernel reads its inputs once and writes its outputs once."""

from __future__ import annotations

from whichgpu.graph import Op, Tensor
from whichgpu.work.kernel import Kernel, KernelKind, Work


def bytes_read(op: Op) -> float:
    """Return the bytes of all inputs of `op`, broadcast dimensions counted once."""
    return float(sum(t.nbytes for t in op.input_tensors()))


def bytes_written(op: Op) -> float:
    """Return the bytes of all results of `op`."""
    return float(sum(t.nbytes for t in op.output_tensors()))


def working_dtype(op: Op) -> str:
    """Return the dtype an op computes in: that of its first floating-point input, else of its first result."""
    for tensor in (*op.input_tensors(), *op.output_tensors()):
        if tensor.is_floating_point:
            return tensor.dtype
    return next((t.dtype for t in (*op.output_tensors(), *op.input_tensors())), "float32")


def streaming(
    op: Op,
    kind: KernelKind,
    flops: float = 0.0,
    *,
    read: float | None = None,
    written: float | None = None,
    launches: int = 1,
) -> Work:
    """Return the work of an op that runs through memory: `read` and `written` bytes, by default each tensor once."""
    return Work(
        (
            Kernel(
                kind,
                working_dtype(op),
                float(flops),
                bytes_read(op) if read is None else float(read),
                bytes_written(op) if written is None else float(written),
                channels_last=any(t.is_channels_last for t in op.input_tensors()),
                launches=launches,
            ),
        )
    )


def largest(op: Op) -> Tensor:
    """Return the result or input with the most elements."""
    return max((*op.output_tensors(), *op.input_tensors()), key=lambda t: t.numel)
