"""Fourier transforms by cuFFT."""

from __future__ import annotations

import math

from whichgpu.graph import Op, Tensor
from whichgpu.work.kernel import Kernel, Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import copy

# FLOPs of a complex transform of n elements: 5 n log2 n, whatever the algorithm really takes; half for a real one.
# Source: FFTW, "benchFFT methodology", which cuFFT's own figures follow, too.
_FLOPS_OF_BUTTERFLY = 5
# Arithmetic is that of the real and imaginary parts.
_PARTS = {"complex64": "float32", "complex128": "float64"}
# Elements one kernel transforms on the chip; longer transforms take another pass over memory for each such factor.
# Source: cuFFT library documentation, 32 KiB to 64 KiB of shared memory for radix kernels of single precision.
_LARGEST_ON_CHIP = 4096


@counts("aten._fft_c2c", "aten._fft_r2c", "aten._fft_c2r")
def fft(op: Op) -> Work:
    """(..., n, ...) -> (..., n, ...) or (..., n / 2 + 1, ...) along the dimensions `dim`.

    Counts: 5 N log2 N FLOPs for N elements of all transformed dimensions together, half of it if one side is real. A
        pass over the data for each dimension and for each factor of 4096 in its length: the first reads the input, the
        last writes the result. A normalization is a kernel of its own over the result; a transform to real numbers of
        more than one dimension copies its input first, which cuFFT overwrites.
    Leaves out: copies of inputs whose transformed dimensions do not lie innermost; lengths with large prime factors.
    Source: ATen/native/cuda/SpectralOps.cpp.
    """
    source, out = op.tensor("self"), op.output()
    dims = _dims(op)
    is_real = not op.base_name.endswith("c2c")
    # The real side has all elements of the transform.
    whole = max(source, out, key=lambda t: t.numel) if is_real else source
    points = math.prod(whole.shape[d] for d in dims)
    flops = _FLOPS_OF_BUTTERFLY * whole.numel * math.log2(points) * (0.5 if is_real else 1.0) if points > 1 else 0.0
    passes = sum(max(1, math.ceil(math.log(max(whole.shape[d], 2), _LARGEST_ON_CHIP))) for d in dims)
    smaller = min(source, out, key=lambda t: t.nbytes)
    kernels = [
        Kernel(
            "copy",
            _PARTS.get(out.dtype, _PARTS.get(source.dtype, "float32")),
            flops=flops / passes,
            bytes_read=float(source.nbytes if index == 0 else smaller.nbytes),
            bytes_written=float(out.nbytes if index == passes - 1 else smaller.nbytes),
        )
        for index in range(passes)
    ]
    if op.base_name.endswith("c2r") and len(dims) > 1:
        kernels.insert(0, copy(source, source))
    if op.attributes.get("normalization", 0):
        kernels.append(_scaled(out))
    return Work(tuple(kernels))


def _dims(op: Op) -> tuple[int, ...]:
    dims = op.attributes.get("dim", ())
    rank = len(op.tensor("self").shape)
    return tuple(d % rank for d in dims if isinstance(d, int)) if isinstance(dims, tuple) else ()


def _scaled(out: Tensor) -> Kernel:
    return Kernel("elementwise", out.dtype, float(out.numel), float(out.nbytes), float(out.nbytes))
