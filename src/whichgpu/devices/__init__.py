"""Devices: what datasheets say of accelerators and CPUs, and which of them this machine has."""

from whichgpu.devices.detect_cpu import this_cpu
from whichgpu.devices.detect_gpu import this_machine, unrecognised_gpus
from whichgpu.devices.device import Device
from whichgpu.devices.find import DEFAULT_DEVICES, find_device
from whichgpu.devices.loader import devices, load_device_file

__all__ = [
    "DEFAULT_DEVICES",
    "Device",
    "devices",
    "find_device",
    "load_device_file",
    "this_cpu",
    "this_machine",
    "unrecognised_gpus",
]
