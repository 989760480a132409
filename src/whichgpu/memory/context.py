"""What a process holds on a device beside its tensors: the driver's context with the code of kernels, NCCL's buffers.

nvidia-smi counts it, torch.cuda.memory_reserved does not.
"""

from __future__ import annotations

from whichgpu.devices.device import Device
from whichgpu.units import MIB

# A context holds a stack for every thread the device can run at once, and the code of the kernels in use. Fitted to
# what PyTorch prints where memory runs out, "this process has X in use. Of the allocated memory Y is allocated by
# PyTorch, and Z is reserved but unallocated": X - Y - Z, medians of 1 to 6 public logs a device, torch 2.1 to 2.9,
# collected 2026-11.
# MiB, logged and by this rule: T4 125, 140; RTX 2080 Ti 230, 203; L4 270, 246; A10G 287, 320; RTX 3090 317, 327;
# V100 382, 410; RTX 4090 470, 483; A100 490, 537; RTX 5090 500, 625; H100 and H200 600, 645; B200 715, 717.
_MIB_FIXED, _MIB_A_THREAD = 50, 0.0022
# Threads a multiprocessor can hold, by compute capability. Source: CUDA C++ Programming Guide 13.0, table 30.
_THREADS = {"7.5": 1024, "8.6": 1536, "8.7": 1536, "8.9": 1536, "12.0": 1536, "12.1": 1536}
_THREADS_OTHERWISE = 2048
_MULTIPROCESSORS_OTHERWISE = 80
# "192.0 GiB, 0 free, 191.5 allocated" on MI300X, public log, 2026-11: what is left for the context.
_MIB_HIP = 450
# Four A100 with NVLink, an all-reduce in a group of two and of more. NVIDIA/nccl issue 964, 2023-08.
_NCCL_MIB_OF_TWO, _NCCL_MIB_OF_MORE = 544, 688


def context_bytes(device: Device) -> int:
    """Return the bytes of a process's context on `device`; 0 where the device has none of its own (Apple, CPUs)."""
    if device.vendor == "AMD" and not device.is_cpu:
        return _MIB_HIP * MIB
    if device.vendor != "NVIDIA" or device.is_cpu:
        return 0
    threads = _THREADS.get(device.compute_capability, _THREADS_OTHERWISE)
    threads *= device.multiprocessors or _MULTIPROCESSORS_OTHERWISE
    return round(_MIB_FIXED + _MIB_A_THREAD * threads) * MIB


def nccl_bytes(world_size: int) -> int:
    """Return the bytes of NCCL's buffers on each of `world_size` devices; 0 for one alone."""
    if world_size < 2:
        return 0
    return (_NCCL_MIB_OF_TWO if world_size == 2 else _NCCL_MIB_OF_MORE) * MIB
