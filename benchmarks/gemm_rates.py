"""Rates that others measured of large matrix products, on devices nobody has published training steps of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

from whichgpu.cost.kernel_table import KernelTable
from whichgpu.devices import find_device
from whichgpu.devices.device import Device, NumberFormat
from whichgpu.graph import Op, Precision, Tensor, precision
from whichgpu.units import TERA
from whichgpu.work import count_op

# Rows, columns and depth of the product: large enough that its shape does not matter.
SIZE = 8192
_DTYPES: dict[NumberFormat, str] = {"fp32": "float32", "tf32": "float32", "fp16": "float16", "bf16": "bfloat16"}

_NEUSIGHT = "large FP32 products of NeuSight (ASPLOS 2025), share of the datasheet peak"
_FLOPS_BENCH = "xzwgit/gpu-flops-bench, dense BF16 products, 2026-08"
_XLA = "OpenXLA, gpu/cost_model/matmul_interpolator_data.h, 4 products of 4096^3"
_MAMF = "stas00/ml-engineering, maximum achievable matmul FLOPS, torch 2.5 to 2.7, best shape, seen 2026-11"
_FORUM = "NVIDIA developer forum, FP16 product under the 72 W cap"

# (device, format, TFLOP/s, source)
_RATES: tuple[tuple[str, NumberFormat, float, str], ...] = (
    ("NVIDIA Tesla T4", "fp32", 0.48 * 8.141, _NEUSIGHT),
    ("NVIDIA L4", "fp32", 0.28 * 30.29, _NEUSIGHT),
    ("NVIDIA H100 PCIe 80GB", "fp32", 0.75 * 51.22, _NEUSIGHT),
    ("NVIDIA L4", "fp16", 87.0, _FORUM),
    ("NVIDIA H100 SXM5 80GB", "bf16", 789.0, _XLA),
    ("NVIDIA H100 SXM5 80GB", "tf32", 346.0, _XLA),
    ("NVIDIA B200 SXM 180GB", "bf16", 1670.0, _XLA),
    ("NVIDIA B200 SXM 180GB", "tf32", 870.0, _XLA),
    ("NVIDIA H200 NVL", "bf16", 853.0, _FLOPS_BENCH),
    ("NVIDIA RTX PRO 5000 Blackwell 48GB", "bf16", 257.0, _FLOPS_BENCH),
    ("NVIDIA GeForce RTX 5090", "bf16", 254.0, _FLOPS_BENCH),
    ("NVIDIA GeForce RTX 4090", "bf16", 179.0, _FLOPS_BENCH),
    ("NVIDIA GeForce RTX 4090", "fp32", 57.6, _FLOPS_BENCH),
    ("NVIDIA A100 SXM4 80GB", "bf16", 271.2, _MAMF),
    ("NVIDIA A100 PCIe 80GB", "bf16", 252.9, _MAMF),
    ("NVIDIA H100 SXM5 80GB", "bf16", 794.5, _MAMF),
    ("AMD Instinct MI250X", "bf16", 147.0, _MAMF),
    ("NVIDIA GB10 (DGX Spark)", "bf16", 102.0, _FLOPS_BENCH),
)


@dataclass(frozen=True)
class GemmRate:
    """One measured rate.

    Attributes:
        device: Where.
        number_format: What the product was computed in; FP32 without TF32.
        flops_per_s: The rate.
        source: Who measured it.
    """

    device: Device
    number_format: NumberFormat
    flops_per_s: float
    source: str

    @property
    def table(self) -> KernelTable:
        """The product, (SIZE, SIZE) @ (SIZE, SIZE)."""
        return _product(_DTYPES[self.number_format])

    @property
    def math(self) -> Precision:
        """The precision a float32 product is priced in."""
        return replace(precision("tf32" if self.number_format == "tf32" else "fp32"), convolution_tf32=False)

    @property
    def seconds(self) -> float:
        """What the product takes at this rate."""
        return float(self.table.flops[0]) / self.flops_per_s


def load_gemm_rates() -> Iterator[GemmRate]:
    """Yield the rates."""
    for name, number_format, teraflops_per_s, source in _RATES:
        yield GemmRate(find_device(name), number_format, teraflops_per_s * TERA, source)


@cache
def _product(dtype: str) -> KernelTable:
    square = Tensor((SIZE, SIZE), dtype)
    work = count_op(Op("aten.mm.default", {"self": square, "mat2": square}, (square,)))
    return KernelTable.of_kernels((kernel, 1) for kernel in work.kernels)
