"""One kernel of a file of kernels as an op: float32, forward, channels outermost, as NeuSight names and sizes them."""

from __future__ import annotations

from collections.abc import Mapping

from whichgpu.graph import Op, Tensor

_BINARY = ("add", "div", "mul", "pow")
_UNARY = ("relu", "gelu", "tanh")
OPERATIONS = (
    "bmm",
    "linear",
    "conv",
    "softmax",
    "layernorm",
    *_UNARY,
    *_BINARY,
    *(f"{name}u" for name in _BINARY),
)
_ELEMENTWISE = frozenset(OPERATIONS) - {"bmm", "linear", "conv", "softmax", "layernorm"}


# What must be given of each; a padding may be 0 and is not asked for.
_SIZES = {
    "bmm": ("b", "m", "n", "k"),
    "linear": ("m", "n", "k"),
    "conv": ("b", "in_ch", "out_ch", "kernel_size", "input_size", "stride"),
}


def sizes_of(operation: str) -> tuple[str, ...]:
    """Return the columns a row of an operation must have, all above 0."""
    return _SIZES.get(operation, ("rows", "cols"))


def kind_of(operation: str) -> str:
    """Return what a kernel is summed up under: its own name, or "elementwise"."""
    return "elementwise" if operation in _ELEMENTWISE else operation


def kernel_op(operation: str, sizes: Mapping[str, int]) -> Op:
    """Return the op of one row.

    Args:
        operation: One of `OPERATIONS`; "addu" adds a number, "add" another tensor.
        sizes: Columns of the row: b, m, n (columns of the result), k (summed over) of products; rows and cols; in_ch,
            out_ch, kernel_size, input_size, stride and padding of convolutions.
    """
    if operation == "bmm":
        b, m, n, k = (sizes[key] for key in "bmnk")
        return Op("aten.bmm.default", {"self": _f32(b, m, k), "mat2": _f32(b, k, n)}, (_f32(b, m, n),))
    if operation == "linear":
        m, n, k = (sizes[key] for key in "mnk")
        weight = Tensor((k, n), "float32", stride=(1, k))
        return Op("aten.addmm.default", {"self": _f32(n), "mat1": _f32(m, k), "mat2": weight}, (_f32(m, n),))
    if operation == "conv":
        return _convolution(sizes)
    columns = sizes["cols"]
    x = _f32(sizes["rows"], columns)
    if operation == "softmax":
        return Op("aten._softmax.default", {"self": x}, (x,), {"dim": -1, "half_to_float": False})
    if operation == "layernorm":
        inputs = {"input": x, "weight": _f32(columns), "bias": _f32(columns)}
        outputs = (x, _f32(sizes["rows"], 1), _f32(sizes["rows"], 1))
        return Op("aten.native_layer_norm.default", inputs, outputs, {"normalized_shape": (columns,), "eps": 1e-5})
    base = operation.removesuffix("u") if operation not in _UNARY else operation
    if base in _BINARY:
        other = operation == base
        overload = "Tensor_Tensor" if base == "pow" else "Tensor"
        scalar = "Tensor_Scalar" if base == "pow" else "Scalar"
        operands = {"self": x, ("exponent" if base == "pow" else "other"): x} if other else {"self": x}
        return Op(f"aten.{base}.{overload if other else scalar}", operands, (x,), {} if other else {"other": 2.0})
    return Op(f"aten.{operation}.default", {"self": x}, (x,))


def _convolution(sizes: Mapping[str, int]) -> Op:
    batch, channels, filters = sizes["b"], sizes["in_ch"], sizes["out_ch"]
    window, side = sizes["kernel_size"], sizes["input_size"]
    padding, stride = sizes.get("padding", 0), sizes["stride"]
    out = (side + 2 * padding - window) // stride + 1
    return Op(
        "aten.convolution.default",
        {"input": _f32(batch, channels, side, side), "weight": _f32(filters, channels, window, window)},
        (_f32(batch, filters, out, out),),
        {
            "stride": (stride, stride),
            "padding": (padding, padding),
            "dilation": (1, 1),
            "transposed": False,
            "output_padding": (0, 0),
            "groups": 1,
        },
    )


def _f32(*shape: int) -> Tensor:
    return Tensor(shape, "float32")
