"""What the measurements call a GPU, and the device meant."""

from __future__ import annotations

from whichgpu.devices import find_device
from whichgpu.devices.device import Device

# Laptop Turing GPUs of Lambda's list are left out: no device file has them, their power limits are not known.
FULL_NAMES = {
    "A100 PCIe 40GB": "NVIDIA A100 PCIe 40GB",
    "A100 PCIe 80GB": "NVIDIA A100 PCIe 80GB",
    "A100 SXM4 40GB": "NVIDIA A100 SXM4 40GB",
    "A100 SXM4 80GB": "NVIDIA A100 SXM4 80GB",
    "A40": "NVIDIA A40",
    "GTX 1080 Ti": "NVIDIA GeForce GTX 1080 Ti",
    "H100 PCIe 80GB": "NVIDIA H100 PCIe 80GB",
    "MI100": "AMD Instinct MI100",
    "P100 PCIe 16GB": "NVIDIA Tesla P100 PCIe 16GB",
    "P4": "NVIDIA Tesla P4",
    "Quadro RTX 5000": "NVIDIA Quadro RTX 5000",
    "Quadro RTX 6000": "NVIDIA Quadro RTX 6000",
    "Quadro RTX 8000": "NVIDIA Quadro RTX 8000",
    "RTX 2080 Ti": "NVIDIA GeForce RTX 2080 Ti",
    "RTX 3080 10GB": "NVIDIA GeForce RTX 3080 10GB",
    "RTX 3080 Laptop 16GB": "NVIDIA GeForce RTX 3080 Laptop",
    "RTX 3090": "NVIDIA GeForce RTX 3090",
    "RTX 4090": "NVIDIA GeForce RTX 4090",
    "RTX A4000": "NVIDIA RTX A4000",
    "RTX A5000": "NVIDIA RTX A5000",
    "RTX A5500": "NVIDIA RTX A5500",
    "RTX A6000": "NVIDIA RTX A6000",
    "TITAN RTX": "NVIDIA Titan RTX",
    "V100 PCIe 32GB": "NVIDIA Tesla V100 PCIe 32GB",
    "V100 SXM2 16GB": "NVIDIA Tesla V100 SXM2 16GB",
    "V100 SXM2 32GB": "NVIDIA Tesla V100 SXM2 32GB",
}


def device_of(gpu: str) -> Device | None:
    """Return the device the measurements call `gpu`, or None where no device file has it."""
    name = FULL_NAMES.get(gpu)
    return None if name is None else find_device(name)
