"""Calls of operators as ops of the IR, without their results: those are what the device really returns."""

from __future__ import annotations

from typing import cast

from whichgpu.graph import Attribute, Op, Tensor
from whichgpu.graph.tensor import contiguous_stride


def channels_last(shape: tuple[int, ...], dtype: str) -> Tensor:
    """Return a tensor (n, c, h, w) whose channels lie innermost."""
    _, c, h, w = shape
    return Tensor(shape, dtype, (h * w * c, 1, w * c, c))


def transposed(shape: tuple[int, ...], dtype: str) -> Tensor:
    """Return a tensor (..., m, n) that lies as (..., n, m) does."""
    *outer, m, n = shape
    *strides, row, column = contiguous_stride((*outer, n, m))
    return Tensor(shape, dtype, (*strides, column, row))


def placeholder(storage: int) -> Tensor:
    """Return what stands for the result of an earlier op."""
    return Tensor((), "float32", storage=storage)


def mm(left: Tensor, right: Tensor) -> Op:
    """Return (m, k) @ (k, n), or a batch of such."""
    name = "aten.bmm.default" if len(left.shape) == 3 else "aten.mm.default"
    return Op(name, {"self": left, "mat2": right}, ())


def linear(rows: int, inputs: int, outputs: int, dtype: str) -> Op:
    """Return a linear layer with its bias, (rows, inputs) -> (rows, outputs)."""
    weight = transposed((inputs, outputs), dtype)
    bias = Tensor((outputs,), dtype)
    return Op("aten.addmm.default", {"self": bias, "mat1": Tensor((rows, inputs), dtype), "mat2": weight}, ())


def scaled_mm(m: int, n: int, k: int, dtype: str) -> Op:
    """Return (m, k) @ (k, n) -> bfloat16 in an 8-bit format with one scale a factor."""
    inputs = {
        "self": Tensor((m, k), dtype),
        "mat2": transposed((k, n), dtype),
        "scale_a": Tensor((), "float32"),
        "scale_b": Tensor((), "float32"),
    }
    return Op("aten._scaled_mm.default", inputs, (), {"out_dtype": "bfloat16"})


def unary(name: str, tensor: Tensor, **attributes: Attribute) -> Op:
    """Return a call of `name` on one tensor."""
    return Op(name, {"self": tensor}, (), attributes)


def clone(tensor: Tensor, memory_format: str) -> Op:
    """Return a copy of `tensor` that lies as `memory_format` says."""
    return unary("aten.clone.default", tensor, memory_format=memory_format)


def convolution(
    data: Tensor, weight: Tensor, stride: int = 1, padding: int = 0, groups: int = 1, transposes: bool = False
) -> Op:
    """Return a convolution in two dimensions without a bias."""
    return Op(
        "aten.convolution.default",
        {"input": data, "weight": weight},
        (),
        _convolution_attributes(stride, padding, groups, transposes),
    )


def convolution_backward(forward: Op, by: str) -> tuple[Op, Op]:
    """Return a convolution whose result stands for its gradient, and its backward by "input" or by "weight"."""
    grad = placeholder(0)
    attributes = {**forward.attributes, "bias_sizes": (0,), "output_mask": (by == "input", by == "weight", False)}
    inputs = {"grad_output": grad, **forward.inputs}
    setup = Op(forward.name, forward.inputs, (grad,), forward.attributes)
    return setup, Op("aten.convolution_backward.default", inputs, (), attributes)


def _convolution_attributes(stride: int, padding: int, groups: int, transposes: bool) -> dict[str, Attribute]:
    return {
        "stride": (stride, stride),
        "padding": (padding, padding),
        "dilation": (1, 1),
        "transposed": transposes,
        "output_padding": (0, 0),
        "groups": groups,
    }


def layer_norm(data: Tensor, dtype: str) -> Op:
    """Return the normalization of the rows of (m, n)."""
    width = data.shape[-1]
    inputs = {"input": data, "weight": Tensor((width,), dtype), "bias": Tensor((width,), dtype)}
    return Op("aten.native_layer_norm.default", inputs, (), {"normalized_shape": (width,), "eps": 1e-5})


def layer_norm_backward(forward: Op) -> tuple[Op, Op]:
    """Return a layer norm, and its backward by input, weight and bias."""
    result, mean, rstd = (placeholder(n) for n in range(3))
    setup = Op(forward.name, forward.inputs, (result, mean, rstd), forward.attributes)
    inputs = {"grad_out": result, "input": _shared(forward, "input"), "mean": mean, "rstd": rstd}
    inputs |= {"weight": _shared(forward, "weight"), "bias": _shared(forward, "bias")}
    attributes: dict[str, Attribute] = {"normalized_shape": forward.attributes["normalized_shape"]}
    return setup, Op(
        "aten.native_layer_norm_backward.default", inputs, (), attributes | {"output_mask": (True, True, True)}
    )


def group_norm(data: Tensor, groups: int, dtype: str) -> Op:
    """Return the normalization of (n, c, h, w) in groups of channels."""
    n, c, h, w = data.shape
    inputs = {"input": data, "weight": Tensor((c,), dtype), "bias": Tensor((c,), dtype)}
    attributes: dict[str, Attribute] = {"N": n, "C": c, "HxW": h * w, "group": groups, "eps": 1e-5}
    return Op("aten.native_group_norm.default", inputs, (), attributes)


def group_norm_backward(forward: Op) -> tuple[Op, Op]:
    """Return a group norm, and its backward by input, weight and bias."""
    result, mean, rstd = (placeholder(n) for n in range(3))
    setup = Op(forward.name, forward.inputs, (result, mean, rstd), forward.attributes)
    inputs = {"grad_out": result, "input": _shared(forward, "input"), "mean": mean, "rstd": rstd}
    inputs["weight"] = _shared(forward, "weight")
    attributes = {name: forward.attributes[name] for name in ("N", "C", "HxW", "group")}
    return setup, Op(
        "aten.native_group_norm_backward.default", inputs, (), attributes | {"output_mask": (True, True, True)}
    )


def batch_norm(data: Tensor, kernel: str) -> Op:
    """Return the normalization of (n, c, h, w) over batch and pixels in training.

    Args:
        data: Its input.
        kernel: "cudnn" for cuDNN's, "native" for torch's own.
    """
    inputs = {"input": data}
    inputs |= {name: Tensor((data.shape[1],), "float32") for name in ("weight", "bias", "running_mean", "running_var")}
    if kernel == "cudnn":
        attributes: dict[str, Attribute] = {"training": True, "exponential_average_factor": 0.1, "epsilon": 1e-5}
        return Op("aten.cudnn_batch_norm.default", inputs, (), attributes)
    return Op("aten.native_batch_norm.default", inputs, (), {"training": True, "momentum": 0.1, "eps": 1e-5})


def batch_norm_backward(forward: Op) -> tuple[Op, Op]:
    """Return a batch norm, and its backward by input, weight and bias."""
    result, mean, deviation, reserve = (placeholder(n) for n in range(4))
    own = {name: _shared(forward, name) for name in ("input", "weight", "running_mean", "running_var")}
    if forward.base_name == "aten.cudnn_batch_norm":
        setup = Op(forward.name, forward.inputs, (result, mean, deviation, reserve), forward.attributes)
        inputs = {"input": own.pop("input"), "grad_output": result, **own}
        inputs |= {"save_mean": mean, "save_var": deviation, "reserveSpace": reserve}
        return setup, Op("aten.cudnn_batch_norm_backward.default", inputs, (), {"epsilon": 1e-5})
    setup = Op(forward.name, forward.inputs, (result, mean, deviation), forward.attributes)
    inputs = {"grad_out": result, **own, "save_mean": mean, "save_invstd": deviation}
    attributes: dict[str, Attribute] = {"train": True, "eps": 1e-5, "output_mask": (True, True, True)}
    return setup, Op("aten.native_batch_norm_backward.default", inputs, (), attributes)


def softmax(data: Tensor, log: bool = False) -> Op:
    """Return the softmax over the rows of `data`, or its logarithm."""
    name = "aten._log_softmax.default" if log else "aten._softmax.default"
    return unary(name, data, dim=-1, half_to_float=False)


def softmax_backward(forward: Op, dtype: str) -> tuple[Op, Op]:
    """Return a softmax, and its backward."""
    result = placeholder(0)
    name = forward.base_name + "_backward_data.default"
    setup = Op(forward.name, forward.inputs, (result,), forward.attributes)
    return setup, Op(name, {"grad_output": result, "output": result}, (), {"dim": -1, "input_dtype": dtype})


def _shared(op: Op, name: str) -> Tensor:
    """Return an input of `op` for another op that takes a tensor of the same kind."""
    return cast("Tensor", op.inputs[name])
