"""GPUs of a machine, from what drivers printed on real ones."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

import whichgpu.devices.detect_gpu  # noqa: F401
from whichgpu.devices import this_cpu, this_machine, unrecognised_gpus
from whichgpu.devices.detect_gpu import GpuReading, apple_readings, known_gpu, nvidia_smi_readings, nvml_readings

MIB = 2**20
room = sys.modules["whichgpu.devices.detect_gpu"]

# Lines of nvidia-smi in public logs: name and memory, and the device it is.
SMI_LINES = [
    ("Tesla T4, 15360", "T4"),
    ("NVIDIA GeForce RTX 4060 Ti, 16380", "RTX 4060 Ti 16GB"),
    ("NVIDIA GeForce RTX 4060 Ti, 8188", "RTX 4060 Ti 8GB"),
    ("NVIDIA GeForce RTX 4090, 24564", "RTX 4090"),
    ("NVIDIA GeForce RTX 3060, 12288", "RTX 3060"),
    ("NVIDIA GeForce RTX 3060, 8192", None),  # the card of 8 GB, which is slower
    ("NVIDIA GeForce RTX 3080, 10240", "RTX 3080 10GB"),
    ("NVIDIA GeForce RTX 3080, 12288", "RTX 3080 12GB"),
    ("NVIDIA A10G, 23028", "A10G"),
    ("NVIDIA A100-SXM4-80GB, 81920", "A100 80GB SXM"),
    ("NVIDIA H100 80GB HBM3, 81559", "H100 SXM"),
    ("NVIDIA H200, 143771", "H200 SXM"),
    ("NVIDIA B200, 183359", "B200"),
    ("NVIDIA GB10, [N/A]", "GB10"),
    ("NVIDIA L40S, 46068", "L40S"),
    ("Tesla P100-PCIE-16GB, 16384", "P100 PCIe"),
    ("Tesla K80, 11441", "K80"),
    ("NVIDIA Imaginary 9000, 1048576", None),
    ("NVIDIA A100-SXM4-80GB MIG 1g.10gb, 9728", None),
]


@pytest.mark.parametrize(("line", "short_name"), SMI_LINES)
def test_a_line_of_nvidia_smi(line: str, short_name: str | None) -> None:
    (reading,) = nvidia_smi_readings(line)
    device = known_gpu(reading)
    assert (device and device.short_name) == short_name


def test_all_gpus_are_read_in_order() -> None:
    readings = nvidia_smi_readings("Tesla T4, 15360\nNVIDIA L4, 23034\n")
    assert readings == (GpuReading("Tesla T4", 15360 * MIB), GpuReading("NVIDIA L4", 23034 * MIB))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No devices were found",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
        "NVIDIA driver is installed and running.",
        "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 535.171",
    ],
)
def test_messages_are_no_gpus(text: str) -> None:
    assert nvidia_smi_readings(text) == ()


def test_a_cpu_is_no_gpu_even_by_name() -> None:
    assert known_gpu(GpuReading("AMD EPYC 7R13 Processor")) is None


IOREG = """\
+-o AGXAcceleratorG15X  <class AGXAcceleratorG15X>
    {
      "PerformanceStatistics" = {"Renderer Utilization %"=58,"Device Utilization %"=95}
      "model" = "Apple M3 Pro"
      "gpu-core-count" = 18
    }
"""


def test_an_apple_gpu_is_known_by_its_cores() -> None:
    (reading,) = apple_readings("Apple M3 Pro", IOREG)
    device = known_gpu(reading)
    assert device is not None and device.name == "Apple M3 Pro (18-core GPU)"
    (fewer,) = apple_readings("Apple M3 Pro", IOREG.replace("18", "14"))
    assert known_gpu(fewer) is None
    assert apple_readings("Apple M3 Pro", "")[0].name == "Apple M3 Pro GPU"
    assert apple_readings("Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz", "") == ()


class FakeNvml:
    """The calls of pynvml, answered as on a machine with the GPUs given."""

    class NVMLError(Exception):
        pass

    def __init__(self, gpus: list[tuple[Any, int | None]] | None) -> None:
        self.gpus = gpus
        self.shut = 0

    def nvmlInit(self) -> None:
        if self.gpus is None:
            raise self.NVMLError("Driver Not Loaded")

    def nvmlShutdown(self) -> None:
        self.shut += 1

    def nvmlDeviceGetCount(self) -> int:
        assert self.gpus is not None
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> Any:
        assert self.gpus is not None
        name = self.gpus[handle][0]
        if name is None:
            raise self.NVMLError("GPU is lost")
        return name

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:
        assert self.gpus is not None
        total = self.gpus[handle][1]
        if total is None:
            raise self.NVMLError("Not Supported")
        return SimpleNamespace(total=total)


def test_nvml_tells_names_and_memory() -> None:
    nvml = FakeNvml([("NVIDIA H100 80GB HBM3", 85520809984), (b"Tesla T4", 16106127360), ("NVIDIA GB10", None)])
    readings = nvml_readings(nvml)
    assert [d.short_name for r in readings if (d := known_gpu(r))] == ["H100 SXM", "T4", "GB10"]
    assert readings[2].memory_bytes is None
    assert nvml.shut == 1


def test_without_a_driver_nvml_tells_nothing() -> None:
    nvml = FakeNvml(None)
    assert nvml_readings(nvml) == ()
    assert nvml.shut == 0
    lost = FakeNvml([(None, None)])
    assert nvml_readings(lost) == ()
    assert lost.shut == 1


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretend to be a machine with the given driver answers."""

    def pretend(smi: str = "", nvml: Any = None, system: str = "linux", **printed: str) -> None:
        room._gpus.cache_clear()
        monkeypatch.setattr(room.sys, "platform", system)
        monkeypatch.setitem(sys.modules, "pynvml", nvml)
        answers = {"nvidia-smi": smi, **printed}
        monkeypatch.setattr(room, "printed_by", lambda program, *rest: answers.get(program.rsplit("/", 1)[-1], ""))

    this_cpu()
    yield pretend
    room._gpus.cache_clear()


def test_this_machine_has_its_cpu_first_then_the_gpus_known(machine: Any) -> None:
    machine("Tesla T4, 15360\nNVIDIA Imaginary 9000, 1024\nNVIDIA L4, 23034")
    assert [d.short_name for d in this_machine()] == [this_cpu().short_name, "T4", "L4"]
    assert unrecognised_gpus() == ("NVIDIA Imaginary 9000",)


def test_nvml_goes_before_nvidia_smi(machine: Any) -> None:
    machine("Tesla T4, 15360", FakeNvml([("NVIDIA L4", 23034 * MIB)]))
    assert [d.short_name for d in this_machine()][1:] == ["L4"]


def test_nvidia_smi_is_asked_where_nvml_tells_nothing(machine: Any) -> None:
    machine("Tesla T4, 15360", FakeNvml(None))
    assert [d.short_name for d in this_machine()][1:] == ["T4"]


def test_a_machine_without_gpus(machine: Any) -> None:
    machine()
    assert this_machine() == (this_cpu(),)
    assert unrecognised_gpus() == ()


def test_a_mac(machine: Any) -> None:
    machine(system="darwin", sysctl="Apple M3 Pro", ioreg=IOREG)
    assert [d.name for d in this_machine()][1:] == ["Apple M3 Pro (18-core GPU)"]
