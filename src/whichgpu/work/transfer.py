"""Copies between host and device, and values read back."""

from __future__ import annotations

from whichgpu.graph import Op, Tensor
from whichgpu.work.kernel import Kernel, Work
from whichgpu.work.registry import counts


@counts("memcpy.h2d")
def host_to_device(op: Op) -> Work:
    """(...) on the host -> (...) on the device.

    Counts: every element once over the link; the host waits, unless the copy was asked not to block.
    Leaves out: staging of memory that is not pinned.
    Source: ATen/native/cuda/Copy.cu (copy_kernel_cuda: memcpy_and_sync unless non_blocking).
    """
    return Work((_over_link(op.output()),), synchronizes=not op.attributes.get("non_blocking", False))


@counts("memcpy.d2h")
def device_to_host(op: Op) -> Work:
    """(...) on the device -> (...) on the host.

    Counts: every element once over the link; the host waits for all that was started before, unless the copy was asked
        not to block.
    Source: as `host_to_device`.
    """
    source = op.tensor("src" if "src" in op.inputs else "self")
    return Work((_over_link(source),), synchronizes=not op.attributes.get("non_blocking", False))


@counts("aten._local_scalar_dense")
def read_scalar(op: Op) -> Work:
    """() on the device -> a number for Python: the host waits for all that was started before.

    Source: ATen/native/cuda/CUDAScalar.cu.
    """
    return Work((_over_link(op.tensor("self")),), synchronizes=True)


@counts("aten._assert_async")
def assert_on_device(op: Op) -> Work:
    """() -> nothing: a kernel of one thread that stops the program if a value is zero.

    Source: ATen/native/cuda/TensorCompare.cu.
    """
    source = op.tensor("self")
    return Work((Kernel("elementwise", source.dtype, 1.0, float(source.nbytes), 0.0),))


def _over_link(tensor: Tensor) -> Kernel:
    nbytes = float(tensor.nbytes)
    return Kernel("transfer", tensor.dtype, flops=0.0, bytes_read=nbytes, bytes_written=nbytes)
