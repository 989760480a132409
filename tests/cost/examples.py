"""A world of round numbers: one device, ideal efficiencies, kernels whose times can be worked out by hand."""

from dataclasses import replace

from whichgpu.cost.family import Efficiencies, efficiencies, efficiencies_from_document
from whichgpu.devices.device import Device
from whichgpu.work import Gemm, Kernel

KINDS = (
    "matmul",
    "convolution",
    "depthwise_convolution",
    "attention",
    "rnn",
    "elementwise",
    "copy",
    "normalization",
    "softmax",
    "reduction",
    "pooling",
    "gather",
    "fused",
    "fused_reduction",
    "optimizer",
    "transfer",
)

TILES = dict.fromkeys(("256x128", "128x128", "128x64", "64x64", "64x32"), 1.0)

# 16 multiprocessors of 1 TFLOP/s each in fp16, 1 TB/s, no cache, no power limit.
DEVICE = Device(
    name="Round Numbers",
    short_name="Round",
    vendor="NVIDIA",
    architecture="None",
    segment="datacenter",
    flops_per_s={"fp32": 2e12, "tf32": 8e12, "fp16": 16e12, "bf16": 16e12},
    memory_bandwidth_bytes_per_s=1e12,
    source="made up",
    source_date="2025-01-01",
    multiprocessors=16,
    tdp_w=300.0,
    memory_bytes=16e9,
)
CPU = replace(DEVICE, name="Round CPU", segment="cpu", flops_per_s={"fp32": 1e12}, multiprocessors=8, memory_bytes=None)


def ideal(**changes) -> Efficiencies:
    """Return coefficients that take nothing away: full peaks, full bandwidth, free tiles, free starts."""
    model = {
        "edge": 0.0,
        "prologue": 0.0,
        "tail": 1.0,
        "split_k_us": 0.0,
        "lowest_voltage": 0.5,
        "idle_w": 0.0,
        "picojoules_per_byte": 0.0,
        "clock": {},
        "l2_bytes_per_clock": 250.0,
        "cpu_cache_speed": 4.0,
        "l2_reach": 0.5,
        "kernel_norm": 4.0,
        "step_norm": 6.0,
        "mature_gain": 1.0,
        "source": "made up",
    }
    times = ("op_us", "launch_us", "view_us", "synchronization_us", "compiled_launch_us", "compiled_call_us")
    times += ("graph_launch_us", "compile_begin_s", "compile_op_ms", "compile_kernel_ms")
    host = {**dict.fromkeys(times, 0.0), "source": "made up"}
    family = {
        "name": "any",
        "matrix": {"fp32": 1.0, "tf32": 1.0, "fp16": 1.0},
        "memory": 1.0,
        "kernel_start_us": 0.0,
        "source": "made up",
    }
    spread = {"sigma": 0.1, "rows": 1, "gpus": 1, "basis": "made up"}
    return efficiencies_from_document(
        {
            "model": model | changes.get("model", {}),
            "host": host | changes.get("host", {}),
            "compute": {"kinds": dict.fromkeys(KINDS, 1.0) | changes.get("compute", {})},
            "memory": {"kinds": dict.fromkeys(KINDS, 1.0) | changes.get("memory", {})},
            "reorder": {"kinds": {"convolution": 0.0} | changes.get("reorder", {})},
            "elements_per_clock": {"kinds": changes.get("elements_per_clock", {})},
            "reread": {"kinds": dict.fromkeys(KINDS, 0.0) | changes.get("reread", {})},
            "tiles": [{"name": "Ampere", "single": TILES, "batched": TILES} | changes.get("tiles", {})],
            "software": changes.get("software", []),
            "family": [family | changes.get("family", {}), family | {"cpu": True}],
            "spread": dict.fromkeys(("device", "family", "vendor", "none", "cpu", "host", "compile"), spread),
        }
    )


def matmul(m, n, k, batch=1, dtype="float16", itemsize=2):
    return Kernel(
        "matmul",
        dtype,
        flops=2.0 * batch * m * n * k,
        bytes_read=float(itemsize * batch * (m * k + k * n)),
        bytes_written=float(itemsize * batch * m * n),
        gemm=Gemm(batch, m, n, k),
    )


def elementwise(elements, itemsize=4):
    return Kernel("elementwise", "float32", float(elements), itemsize * elements / 1.0, itemsize * elements / 1.0)


__all__ = ["CPU", "DEVICE", "KINDS", "efficiencies", "elementwise", "ideal", "matmul"]
