"""NeuSight's kernel timings as `Kernel` rows: what each ran, on which device, for how long."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whichgpu.cost.kernel_table import KernelTable
from whichgpu.graph import Op, Tensor
from whichgpu.work import Kernel, count_op

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The timings include starting the kernel from Python; below this the start is all they show.
SHORTEST_S = 1e-4
_OTHER = ("bmm", "linear", "conv", "softmax", "layernorm")
_BINARY = ("add", "div", "mul", "pow")


@dataclass(frozen=True)
class KernelRows:
    """Kernels measured on one device.

    Attributes:
        gpu: What the measurements call the device.
        op: Kind of row ("bmm", "linear", "conv", "elementwise", "softmax", "layernorm"), (n,).
        table: The n kernels.
        seconds: Measured times, (n,).
    """

    gpu: str
    op: NDArray[np.str_]
    table: KernelTable
    seconds: NDArray[np.float64]


def load_kernel_rows(measurements: Path, most_per_op: int, seed: int = 0) -> list[KernelRows]:
    """Return the kernels of neusight_kernels.csv.gz that ran long enough, by device.

    Args:
        measurements: The folder of the file.
        most_per_op: Rows to keep of each operation on each device, drawn at random.
        seed: Of that draw.
    """
    import numpy as np
    import pandas as pd

    frame = pd.read_csv(measurements / "neusight_kernels.csv.gz", low_memory=False)
    frame = frame[frame.latency_ms > SHORTEST_S * 1e3]
    rows = []
    for gpu, of_gpu in frame.groupby("gpu"):
        kept = pd.concat(
            group.sample(min(len(group), most_per_op), random_state=seed) for _, group in of_gpu.groupby("op")
        )
        records = kept.to_dict("records")
        table = KernelTable.of_kernels((kernel_of(record), 1) for record in records)
        op = np.array([r["op"] if r["op"] in _OTHER else "elementwise" for r in records])
        rows.append(KernelRows(str(gpu), op, table, kept.latency_ms.to_numpy() / 1e3))
    return rows


def kernel_of(row: dict[str, Any]) -> Kernel:
    """Return the kernel of one row, as the work rules count it: float32, forward, channels outermost."""
    kernels = count_op(_op(row)).kernels
    assert len(kernels) == 1, row["op"]
    return kernels[0]


def _op(row: dict[str, Any]) -> Op:
    name = row["op"]
    if name == "bmm":
        b, m, n, k = (int(row[key]) for key in "bmnk")
        return Op("aten.bmm.default", {"self": _f32(b, m, k), "mat2": _f32(b, k, n)}, (_f32(b, m, n),))
    if name == "linear":
        m, n, k = (int(row[key]) for key in "mnk")
        weight = Tensor((k, n), "float32", stride=(1, k))
        return Op("aten.addmm.default", {"self": _f32(n), "mat1": _f32(m, k), "mat2": weight}, (_f32(m, n),))
    if name == "conv":
        return _convolution(row)
    rows, columns = int(row["rows"]), int(row["cols"])
    x = _f32(rows, columns)
    if name == "softmax":
        return Op("aten._softmax.default", {"self": x}, (x,), {"dim": -1, "half_to_float": False})
    if name == "layernorm":
        inputs = {"input": x, "weight": _f32(columns), "bias": _f32(columns)}
        outputs = (x, _f32(rows, 1), _f32(rows, 1))
        return Op("aten.native_layer_norm.default", inputs, outputs, {"normalized_shape": (columns,), "eps": 1e-5})
    base = name.removesuffix("u")
    if base in _BINARY:
        other = name == base  # "addu" adds a number, "add" another tensor
        overload = "Tensor_Tensor" if base == "pow" else "Tensor"
        scalar = "Tensor_Scalar" if base == "pow" else "Scalar"
        inputs = {"self": x, ("exponent" if base == "pow" else "other"): x} if other else {"self": x}
        return Op(f"aten.{base}.{overload if other else scalar}", inputs, (x,), {} if other else {"other": 2.0})
    return Op(f"aten.{name}.default", {"self": x}, (x,))


def _convolution(row: dict[str, Any]) -> Op:
    batch, channels, filters = int(row["b"]), int(row["in_ch"]), int(row["out_ch"])
    window, size = int(row["kernel_size"]), int(row["input_size"])
    padding, stride = int(row["padding"]), int(row["stride"])
    out = (size + 2 * padding - window) // stride + 1
    return Op(
        "aten.convolution.default",
        {"input": _f32(batch, channels, size, size), "weight": _f32(filters, channels, window, window)},
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
