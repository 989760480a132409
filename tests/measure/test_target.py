"""The device trained on: how it is named, and the switches that are put back."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from whichgpu.devices import find_device, this_cpu
from whichgpu.errors import MissingExtraError
from whichgpu.graph import PRECISIONS
from whichgpu.measure.target import Target
from whichgpu.measure.torch_devices import torch_devices

torch = pytest.importorskip("torch")


def test_the_cpu_is_the_one_the_devices_name() -> None:
    target = Target.find("cpu", "mnist")
    assert (target.device, target.name, target.label) == ("cpu", this_cpu().name, this_cpu().short_name)
    assert f"{torch.get_num_threads()} thread" in target.notes[0]


def test_a_gpu_is_named_by_what_the_driver_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    known = find_device("RTX 4090")
    reported = {0: known.reported_names[0], 1: "NVIDIA Imaginary 9000"}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: reported[device.index or 0])
    first, second = Target.find("cuda", "mnist"), Target.find("cuda:1", "mnist")
    assert (first.device, first.name, first.label) == ("cuda", known.name, known.short_name)
    assert second.name == "NVIDIA Imaginary 9000"
    assert "in no device file" in second.notes[0]


@pytest.fixture
def switches() -> Iterator[Callable[[], tuple[bool, bool]]]:
    """What reads the switches, as a person has set them: none for matrix products, one for convolutions."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32, cudnn.allow_tf32 = False, True
    yield lambda: (matmul.allow_tf32, cudnn.allow_tf32)
    matmul.allow_tf32, cudnn.allow_tf32 = before


def test_tf32_is_used_as_the_precision_says_and_put_back(switches: Callable[[], tuple[bool, bool]]) -> None:
    gpu = Target("cuda", "GPU", "GPU")
    with gpu.math_modes(PRECISIONS["tf32"]):
        assert switches() == (True, True)
    assert switches() == (False, True)
    with pytest.raises(KeyboardInterrupt), gpu.math_modes(PRECISIONS["tf32"]):
        raise KeyboardInterrupt
    assert switches() == (False, True)
    with Target("cpu", "CPU", "CPU").math_modes(PRECISIONS["tf32"]):
        assert switches() == (False, True)


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"torch is needed to train mnist .*pip install 'whichgpu\[torch\]'"):
        Target.find("cpu", "mnist")


def test_what_torch_can_train_on(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["NVIDIA L4", "NVIDIA H100 PCIe", "NVIDIA L4"]
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert torch_devices() == ("cpu",)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: names[index])
    assert torch_devices() == ("cpu", "cuda:0", "cuda:1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert torch_devices() == ("cpu", "mps")
