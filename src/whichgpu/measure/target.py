"""The device of this machine that a job is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from whichgpu.errors import MeasureError, MissingExtraError, OptionError
from whichgpu.graph import Precision


@dataclass(frozen=True, slots=True)
class Target:
    """A device torch can train on here.

    Attributes:
        device: What torch calls it: "cpu", "cuda", "cuda:1", "mps".
        name: Full name of the device; what the system calls it where no device of ours has that name.
        label: Short name for tables.
        notes: What a reader must know.
        threads: Host threads that compute, or that feed a GPU.
    """

    device: str
    name: str
    label: str
    notes: tuple[str, ...] = ()
    threads: int = 1

    @classmethod
    def find(cls, device: str, job: str) -> Target:
        """Return the device that torch calls `device`.

        Args:
            device: "cpu", "cuda", "cuda:1" or "mps".
            job: Name of the job to be trained, for the message.

        Raises:
            OptionError: If `device` is not such a name.
            MissingExtraError: If torch is not installed.
            MeasureError: If torch cannot use such a device here.
        """
        kind, _, index = device.partition(":")
        if kind not in ("cpu", "cuda", "mps") or (index and not (kind == "cuda" and index.isdecimal())):
            raise OptionError(f"Device to measure on is {device!r}; expected cpu, cuda, cuda:1 or mps.")
        try:
            import torch
        except ImportError:
            raise MissingExtraError("torch", "torch", f"train {job} on this machine") from None
        if kind == "cpu":
            return cls._cpu(torch.get_num_threads())
        there = torch.cuda.device_count() if kind == "cuda" else int(torch.backends.mps.is_available())
        if int(index or 0) >= there:
            raise MeasureError(
                f"torch {torch.__version__} can use no device {device!r} on this machine. "
                "Measure on the CPU, or install a torch built for the GPU."
            )
        if kind == "cuda":
            return cls._reported(device, torch.cuda.get_device_name(torch.device(device)))
        return cls._mps()

    @classmethod
    def _cpu(cls, threads: int) -> Target:
        from whichgpu.devices import this_cpu

        cpu = this_cpu()
        note = f"Trained on {threads} thread{'s' if threads != 1 else ''}."
        return cls("cpu", cpu.name, cpu.short_name, (note,), threads)

    @classmethod
    def _mps(cls) -> Target:
        from whichgpu.devices import this_machine

        for device in this_machine():
            if device.segment == "apple":
                return cls("mps", device.name, device.short_name)
        return cls("mps", "Apple GPU", "Apple GPU", ("Which GPU this is was not recognised.",))

    @classmethod
    def _reported(cls, device: str, reported: str) -> Target:
        from whichgpu.devices.detect_gpu import GpuReading, known_gpu

        known = known_gpu(GpuReading(reported, _memory_bytes(device)))
        if known is None:
            return cls(device, reported, reported, (f"{reported!r} is in no device file.",))
        return cls(device, known.name, known.short_name)

    def synchronize(self) -> None:
        """Wait until the device has done all it was given."""
        if self.device == "cpu":
            return
        import torch

        if self.device == "mps":
            torch.mps.synchronize()
        else:
            torch.cuda.synchronize(torch.device(self.device))

    def empty_cache(self) -> None:
        """Give memory the framework keeps for later back to the device."""
        if self.device == "cpu":
            return
        import torch

        if self.device == "mps":
            torch.mps.empty_cache()
        else:
            torch.cuda.empty_cache()

    @contextmanager
    def math_modes(self, precision: Precision) -> Iterator[None]:
        """Let matrix products and convolutions use TF32 as `precision` says, and put the switches back after."""
        if not self.device.startswith("cuda"):
            yield
            return
        import torch

        before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = precision.matmul_tf32
        torch.backends.cudnn.allow_tf32 = precision.convolution_tf32
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def _memory_bytes(device: str) -> float | None:
    """Return the memory of a GPU, which tells variants of one name apart; None if torch does not tell it."""
    import torch

    try:
        return float(torch.cuda.get_device_properties(torch.device(device)).total_memory)
    except (RuntimeError, AssertionError):  # the latter is what a torch without CUDA raises
        return None
