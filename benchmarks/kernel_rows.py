"""NeuSight's kernel timings as `Kernel` rows: what each ran, on which device, for how long."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whichgpu.cost.kernel_table import KernelTable
from whichgpu.work import Gemm, Kernel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The timings include starting the kernel from Python; below this the start is all they show.
SHORTEST_S = 1e-4
_UNARY = ("addu", "divu", "mulu", "powu", "gelu", "relu", "tanh")
_BINARY = ("add", "div", "mul", "pow")
_FLOAT_BYTES = 4


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
        op = np.array(["elementwise" if r["op"] in _UNARY + _BINARY else r["op"] for r in records])
        rows.append(KernelRows(str(gpu), op, table, kept.latency_ms.to_numpy() / 1e3))
    return rows


def kernel_of(row: dict[str, Any]) -> Kernel:
    """Return the kernel of one row: float32, forward, channels outermost."""
    op = row["op"]
    if op in ("bmm", "linear"):
        batch = int(row["b"]) if op == "bmm" else 1
        m, n, k = int(row["m"]), int(row["n"]), int(row["k"])
        bias = n if op == "linear" else 0
        return Kernel(
            "matmul",
            "float32",
            flops=2.0 * batch * m * n * k,
            bytes_read=_FLOAT_BYTES * (batch * (m * k + k * n) + bias),
            bytes_written=_FLOAT_BYTES * batch * m * n,
            gemm=Gemm(batch, m, n, k),
        )
    if op == "conv":
        return _convolution(row)
    elements = row["rows"] * row["cols"]
    kind = {"softmax": "softmax", "layernorm": "normalization"}.get(op, "elementwise")
    return Kernel(
        kind,  # type: ignore[arg-type]
        "float32",
        flops=elements * (5 if op in ("softmax", "layernorm") else 1),
        bytes_read=_FLOAT_BYTES * elements * (2 if op in _BINARY else 1),
        bytes_written=_FLOAT_BYTES * elements,
    )


def _convolution(row: dict[str, Any]) -> Kernel:
    batch, channels, filters = int(row["b"]), int(row["in_ch"]), int(row["out_ch"])
    window, size = int(row["kernel_size"]), int(row["input_size"])
    out = (size + 2 * int(row["padding"]) - window) // int(row["stride"]) + 1
    depth = channels * window * window
    pixels = batch * out * out
    return Kernel(
        "convolution",
        "float32",
        flops=2.0 * pixels * filters * depth,
        bytes_read=_FLOAT_BYTES * (batch * channels * size * size + filters * depth),
        bytes_written=_FLOAT_BYTES * pixels * filters,
        gemm=Gemm(1, pixels, filters, depth),
    )
