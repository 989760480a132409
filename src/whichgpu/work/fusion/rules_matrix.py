"""Matrix products and convolutions: calls of libraries, and what a compiler peels off them."""

from __future__ import annotations

from dataclasses import replace

from whichgpu.graph import Op, Tensor
from whichgpu.work.count import count_op
from whichgpu.work.fusion.lowering import Lowering
from whichgpu.work.fusion.program import Expression, Read, merged
from whichgpu.work.fusion.reductions import reduce
from whichgpu.work.fusion.rules import is_pointwise, lowers
from whichgpu.work.fusion.rules_reduction import is_along_memory
from whichgpu.work.kernel import Kernel

_CONVOLUTIONS = ("convolution", "depthwise_convolution")
_HALVES = ("float16", "bfloat16")


@lowers("aten.addmm", from_memory=True)
def addmm(build: Lowering, op: Op) -> None:
    """(n,) + (m, k) @ (k, n) -> (m, n).

    In float32 the addition leaves the product where only loops read the sum; in half precision it stays.
    Source: torch/_inductor/fx_passes/post_grad.py (unfuse_bias_add_to_pointwise).
    """
    out, added = op.output(), op.tensor("self")
    readers = build.readers(out)
    leaves = out.dtype not in _HALVES and readers is not None and bool(readers) and all(map(is_pointwise, readers))
    if not leaves:
        reads = [build.memory(op.tensor(name)) for name in ("self", "mat1", "mat2")]
        build.library(_products(op), reads, (out,))
        return
    product = _product(build, op, ("mat1", "mat2"))
    build.bind(out, merged((product, build.expression(added)), out.numel, out.dtype, float(out.numel)))


@lowers("aten.baddbmm", from_memory=True)
def baddbmm(build: Lowering, op: Op) -> None:
    """(b, m, n) + (b, m, k) @ (b, k, n) -> (b, m, n): a product, and an addition for whoever reads it."""
    out = op.output()
    product = _product(build, op, ("batch1", "batch2"))
    if op.attributes.get("beta", 1):
        product = merged((product, build.expression(op.tensor("self"))), out.numel, out.dtype, 2.0 * out.numel, 2)
    build.bind(out, product)


@lowers("aten.mm", "aten.bmm", from_memory=True)
def product(build: Lowering, op: Op) -> None:
    """(m, k) @ (k, n) -> (m, n), or a batch of them."""
    reads = [build.memory(op.tensor(name)) for name in ("self", "mat2")]
    build.library(_products(op), reads, (op.output(),))


@lowers("aten.convolution", from_memory=True)
def convolution(build: Lowering, op: Op) -> None:
    """(n, c, *in) * (f, c/g, *window) -> (n, f, *out); a bias is added by whoever reads the result.

    Source: torch/_inductor/kernel/conv.py (convolution).
    """
    data, weight, out = op.tensor("input"), op.tensor("weight"), op.output()
    reads = [_image(build, data), _image(build, weight)]
    build.layout.turn(out)
    kernels = _convolutions(op, is_turned=build.layout.is_turned)
    if "bias" not in op.inputs:
        build.library(kernels, reads, (out,))
        return
    result = build.call(kernels, reads, out)
    build.bind(out, merged((result, build.expression(op.tensor("bias"))), out.numel, out.dtype, float(out.numel)))


@lowers("aten.convolution_backward", from_memory=True)
def convolution_backward(build: Lowering, op: Op) -> None:
    """Gradients of a convolution: a call for input and weight, which runs as the input lies, a sum for the bias.

    Source: torch/_inductor/decomposition.py (convolution_backward); lowering.py (constrain_to_fx_strides).
    """
    grad, data, weight = op.tensor("grad_output"), op.tensor("input"), op.tensor("weight")
    by_data, by_weight, by_bias = (t if t is not None else None for t in (*op.outputs, None)[:3])
    if by_bias is not None:
        dims = tuple(d for d in range(len(grad.shape)) if d != 1)
        filters = grad.shape[1]
        total = reduce(
            build,
            build.expression(grad),
            filters,
            grad.numel // filters,
            nbytes=by_bias.nbytes,
            flops=float(grad.numel),
            is_contiguous=is_along_memory(build, grad, dims),
        )
        build.bind(by_bias, total)
    is_turned = build.layout.is_image(data)
    if is_turned and by_data is not None:
        build.layout.turn(by_data)
    reads = [build.memory(t) for t in (grad, data, weight)]
    build.library(_convolutions(op, is_turned=is_turned), reads, (by_data, by_weight))


def _products(op: Op) -> tuple[Kernel, ...]:
    return tuple(k for k in count_op(op).kernels if k.kind == "matmul")


def _product(build: Lowering, op: Op, names: tuple[str, ...]) -> Expression:
    return build.call(_products(op), [build.memory(op.tensor(name)) for name in names], op.output())


def _convolutions(op: Op, *, is_turned: bool) -> tuple[Kernel, ...]:
    kernels = (k for k in count_op(op).kernels if k.kind in _CONVOLUTIONS)
    return tuple(replace(k, channels_last=True) if is_turned else k for k in kernels)


def _image(build: Lowering, tensor: Tensor) -> Read:
    """Return how an operand is read, which is copied first where it lies in memory otherwise than it should.

    A part of what is in memory, such as some of its channels, is copied, too.
    """
    is_image = len(tensor.shape) >= 4 and tensor.numel > tensor.shape[0] * tensor.shape[1]
    if is_image and build.is_part(tensor) and build.is_in_memory(tensor):
        value = build.expression(tensor)
        return Read(build.write(value, tensor.nbytes), float(tensor.nbytes), True)
    lies_so = build.layout.is_image(tensor) or not is_image or not tensor.is_contiguous
    is_free = not build.is_in_memory(tensor) or build.is_written_here(tensor)
    if not build.layout.is_turned or lies_so or is_free or tensor.shape[1] == 1:
        read = build.memory(tensor)
        build.layout.turn(tensor)
        return read
    value = build.expression(tensor, "copy")
    return Read(build.write(value, tensor.nbytes), float(tensor.nbytes), True)
