"""Copies between host and device."""

from __future__ import annotations

from whichgpu.graph import Op
from whichgpu.work.kernel import Kernel, Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import working_dtype


def _transfer(op: Op, nbytes: float, synchronizes: bool) -> Work:
    return Work((Kernel("transfer", working_dtype(op), 0.0, nbytes, nbytes),), synchronizes)


@counts("memcpy.h2d")
def host_to_device(op: Op) -> Work:
    """A tensor from host memory into device memory.

    Counts: its bytes over the host link.
    Leaves out: the pass through pinned memory of a tensor that is not pinned.
    Source: CUDA programming guide, asynchronous copies.
    """
    return _transfer(op, float(sum(t.nbytes for t in op.output_tensors())), synchronizes=False)


@counts("memcpy.d2h")
def device_to_host(op: Op) -> Work:
    """A tensor from device memory into host memory; the host waits for it.

    Counts: its bytes over the host link.
    Leaves out: that a copy into pinned memory need not wait.
    Source: CUDA programming guide, asynchronous copies.
    """
    return _transfer(op, float(sum(t.nbytes for t in op.input_tensors())), synchronizes=True)


@counts("aten._local_scalar_dense", "aten.item", "aten.equal", "aten.is_nonzero")
def read_scalar(op: Op) -> Work:
    """One number from the device; the host waits for it.

    Counts: its bytes over the host link.
    Leaves out: nothing of note.
    Source: ATen/native/cuda/CUDAScalar.cu.
    """
    return _transfer(op, float(max((t.itemsize for t in op.input_tensors()), default=8)), synchronizes=True)
