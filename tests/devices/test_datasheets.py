"""Figures typed from published datasheets and whitepapers, apart from the data files.

Tolerances are those of the print: a sheet that says 312 TFLOPS means 311.5 to 312.5.
"""

from __future__ import annotations

import pytest

from whichgpu.devices import find_device

TERA, GIGA, GIB = 1e12, 1e9, 2**30

# Device, number format, TFLOPS dense with FP32 accumulation, where it is printed.
PEAKS = [
    ("P100 SXM2", "fp32", 10.6, "NVIDIA Tesla P100 whitepaper (2016), table 1"),
    ("P100 SXM2", "fp16", 21.2, "NVIDIA Tesla P100 whitepaper (2016), table 1"),
    ("V100 SXM2 16GB", "fp32", 15.7, "NVIDIA Tesla V100 whitepaper (2017), table 1"),
    ("V100 SXM2 32GB", "fp16", 125, "NVIDIA Tesla V100 datasheet (2018)"),
    ("V100 PCIe 16GB", "fp16", 112, "NVIDIA Tesla V100 datasheet (2018)"),
    ("V100S", "fp16", 130, "NVIDIA V100 datasheet (2020)"),
    ("T4", "fp32", 8.1, "NVIDIA T4 datasheet (2019)"),
    ("T4", "fp16", 65, "NVIDIA T4 datasheet (2019)"),
    ("T4", "int8", 130, "NVIDIA T4 datasheet (2019)"),
    ("RTX 2080 Ti", "fp16", 53.8, "NVIDIA Turing whitepaper (2018), appendix A"),
    ("A100 80GB SXM", "fp32", 19.5, "NVIDIA A100 datasheet (2021)"),
    ("A100 80GB SXM", "tf32", 156, "NVIDIA A100 datasheet (2021)"),
    ("A100 40GB PCIe", "bf16", 312, "NVIDIA A100 datasheet (2021)"),
    ("A100 80GB PCIe", "int8", 624, "NVIDIA A100 datasheet (2021)"),
    ("A30", "fp16", 165, "NVIDIA A30 datasheet (2021)"),
    ("A10", "bf16", 125, "NVIDIA A10 datasheet (2021)"),
    ("A10", "fp32", 31.2, "NVIDIA A10 datasheet (2021)"),
    ("A40", "tf32", 74.8, "NVIDIA A40 datasheet (2020)"),
    ("RTX 3090", "fp16", 71.0, "NVIDIA GA102 whitepaper v2 (2021), table 2"),
    ("RTX A6000", "fp16", 154.8, "NVIDIA GA102 whitepaper v2 (2021), table 9"),
    ("RTX 4090", "fp32", 82.6, "NVIDIA Ada whitepaper v2.1 (2023), appendix A"),
    ("RTX 4090", "fp16", 165.2, "NVIDIA Ada whitepaper v2.1 (2023), appendix A"),
    ("RTX 4090", "fp8", 330.3, "NVIDIA Ada whitepaper v2.1 (2023), appendix A"),
    ("L4", "fp16", 121, "NVIDIA L4 datasheet (2023): 242 with sparsity"),
    ("L40S", "bf16", 362.05, "NVIDIA L40S datasheet (2023)"),
    ("L40S", "fp8", 733, "NVIDIA L40S datasheet (2023)"),
    ("L40", "bf16", 181.05, "NVIDIA L40 datasheet (2023)"),
    ("H100 SXM", "bf16", 989.4, "NVIDIA H100 whitepaper v1.04 (2023), table 2"),
    ("H100 SXM", "tf32", 494.7, "NVIDIA H100 whitepaper v1.04 (2023), table 2"),
    ("H100 SXM", "fp8", 1978.9, "NVIDIA H100 whitepaper v1.04 (2023), table 2"),
    ("H100 PCIe", "bf16", 756, "NVIDIA H100 whitepaper v1.04 (2023), table 2"),
    ("RTX 5090", "fp32", 104.8, "NVIDIA RTX Blackwell whitepaper (2025), appendix A"),
    ("RTX 5090", "bf16", 209.5, "NVIDIA RTX Blackwell whitepaper (2025), appendix A"),
    ("B200", "bf16", 2250, "NVIDIA HGX B200 datasheet (2024): 36 PFLOPS of eight, with sparsity"),
    ("GB200", "bf16", 2500, "NVIDIA GB200 NVL72 datasheet (2024): 5 PFLOPS with sparsity"),
    ("MI100", "fp16", 184.6, "AMD Instinct MI100 datasheet (2020)"),
    ("MI210", "bf16", 181.0, "AMD Instinct MI210 datasheet (2022)"),
    ("MI250X", "fp16", 383.0 / 2, "AMD Instinct MI250X datasheet (2021), of two dies"),
    ("MI300X", "fp16", 1307.4, "AMD Instinct MI300X datasheet (2023)"),
    ("MI300X", "fp8", 2614.9, "AMD Instinct MI300X datasheet (2023)"),
    ("MI355X", "fp16", 2516.6, "AMD Instinct MI355X datasheet (2025)"),
    ("RX 7900 XTX", "fp32", 61.4, "AMD Radeon RX 7900 XTX product page (2022)"),
    ("M1", "fp32", 2.6, "Apple, press release of 2020-11-10"),
    ("M1 Max", "fp32", 10.4, "Apple, press release of 2021-10-18"),
    ("M2", "fp32", 3.6, "Apple, press release of 2022-06-06"),
]


@pytest.mark.parametrize(("name", "number_format", "tflops", "source"), PEAKS)
def test_peak(name: str, number_format: str, tflops: float, source: str) -> None:
    rel = 0.02 if name.startswith("M1") else 0.007
    assert find_device(name).flops_per_s[number_format] == pytest.approx(tflops * TERA, rel=rel), source


# Device, GB/s, GiB, W (None where the sheet does not say), where they are printed.
BOARDS = [
    ("P100 PCIe", 732, 16, 250, "NVIDIA Tesla P100 datasheet (2016)"),
    ("V100 SXM2 16GB", 900, 16, 300, "NVIDIA Tesla V100 datasheet (2018)"),
    ("V100S", 1134, 32, 250, "NVIDIA V100 datasheet (2020)"),
    ("T4", 320, 16, 70, "NVIDIA T4 datasheet (2019)"),
    ("A100 40GB SXM", 1555, 40, 400, "NVIDIA A100 datasheet (2021)"),
    ("A100 80GB SXM", 2039, 80, 400, "NVIDIA A100 datasheet (2021)"),
    ("A100 80GB PCIe", 1935, 80, 300, "NVIDIA A100 datasheet (2021)"),
    ("A10", 600, 24, 150, "NVIDIA A10 datasheet (2021)"),
    ("A30", 933, 24, 165, "NVIDIA A30 datasheet (2021)"),
    ("A40", 696, 48, 300, "NVIDIA A40 datasheet (2020)"),
    ("RTX A6000", 768, 48, 300, "NVIDIA RTX A6000 datasheet (2020)"),
    ("L4", 300, 24, 72, "NVIDIA L4 datasheet (2023)"),
    ("L40S", 864, 48, 350, "NVIDIA L40S datasheet (2023)"),
    ("H100 SXM", 3350, 80, 700, "NVIDIA H100 datasheet (2023)"),
    ("H100 NVL", 3938, 94, 400, "NVIDIA H100 NVL product brief (2024)"),
    ("H200", 4800, 141, 700, "NVIDIA H200 datasheet (2024)"),
    ("B200", 7700, 180, 1000, "NVIDIA HGX B200 datasheet (2025): 1.44 TB and 62 TB/s of eight"),
    ("RTX 3060", 360, 12, 170, "NVIDIA product page (2021)"),
    ("RTX 3090", 936, 24, 350, "NVIDIA GA102 whitepaper v2 (2021), table 2"),
    ("RTX 4090", 1008, 24, 450, "NVIDIA Ada whitepaper v2.1 (2023), appendix A"),
    ("RTX 5090", 1792, 32, 575, "NVIDIA RTX Blackwell whitepaper (2025), appendix A"),
    ("RTX 6000 Ada", 960, 48, 300, "NVIDIA RTX 6000 Ada datasheet (2022)"),
    ("MI300X", 5300, 192, 750, "AMD Instinct MI300X datasheet (2023)"),
    ("MI325X", 6000, 256, 1000, "AMD Instinct MI325X datasheet (2024)"),
    ("MI250X", 3277 / 2, 128 / 2, None, "AMD Instinct MI250X datasheet (2021), of two dies"),
    ("RX 7900 XTX", 960, 24, 355, "AMD Radeon RX 7900 XTX product page (2022)"),
    ("Arc A770", 560, 16, 225, "Intel ARK, Arc A770 Graphics (2022)"),
    ("M1 Ultra", 800, 128, None, "Apple, press release of 2022-03-08"),
    ("M4 Max", 546, 128, None, "Apple, press release of 2024-10-30"),
]


@pytest.mark.parametrize(("name", "gb_per_s", "gib", "tdp_w", "source"), BOARDS)
def test_board(name: str, gb_per_s: float, gib: float, tdp_w: float | None, source: str) -> None:
    device = find_device(name)
    assert device.memory_bandwidth_bytes_per_s == pytest.approx(gb_per_s * GIGA, rel=0.007), source
    assert device.memory_bytes == gib * GIB, source
    if tdp_w is not None:
        assert device.tdp_w == tdp_w, source


# Device, SMs or compute units, L2 in MiB, where they are printed.
CHIPS = [
    ("V100 SXM2 16GB", 80, 6, "NVIDIA Tesla V100 whitepaper (2017), table 1"),
    ("A100 80GB SXM", 108, 40, "NVIDIA A100 whitepaper (2020), table 5"),
    ("RTX 3090", 82, 6, "NVIDIA GA102 whitepaper v2 (2021), table 2"),
    ("RTX 4090", 128, 72, "NVIDIA Ada whitepaper v2.1 (2023), appendix A"),
    ("H100 SXM", 132, 50, "NVIDIA H100 whitepaper v1.04 (2023), table 3"),
    ("H100 PCIe", 114, 50, "NVIDIA H100 whitepaper v1.04 (2023), table 3"),
    ("RTX 5090", 170, 96, "NVIDIA RTX Blackwell whitepaper (2025), appendix A"),
    ("MI300X", 304, 256, "AMD CDNA 3 whitepaper (2023)"),
    ("A10G", 80, 6, "torch's print of the properties of a real card (2026-09)"),
]


@pytest.mark.parametrize(("name", "multiprocessors", "l2_mib", "source"), CHIPS)
def test_chip(name: str, multiprocessors: int, l2_mib: float, source: str) -> None:
    device = find_device(name)
    assert device.multiprocessors == multiprocessors, source
    assert device.l2_bytes == l2_mib * 2**20, source
