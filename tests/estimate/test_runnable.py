"""What runs where a precision is lacking."""

import pytest

from whichgpu.devices import devices, find_device
from whichgpu.estimate import runnable_precision
from whichgpu.graph import PRECISIONS


@pytest.mark.parametrize(
    ("device", "wanted", "runs"),
    [
        ("A100 80GB SXM", "amp-bf16", "amp-bf16"),
        ("A100 80GB SXM", "tf32", "tf32"),
        ("Tesla T4", "amp-fp16", "amp-fp16"),
        ("Tesla T4", "amp-bf16", "amp-fp16"),
        ("Tesla T4", "bf16", "amp-fp16"),
        ("Tesla T4", "tf32", "fp32"),
        ("GTX 1080 Ti", "amp-fp16", "fp32"),
        ("GTX 1080 Ti", "bf16", "fp32"),
        ("AMD EPYC 9654", "amp-bf16", "amp-bf16"),
        ("AMD EPYC 9654", "bf16", "bf16"),
        ("AMD EPYC 9654", "amp-fp16", "fp32"),
        ("AMD EPYC 7763", "amp-bf16", "fp32"),
        ("AMD EPYC 7763", "tf32", "fp32"),
    ],
)
def test_what_a_device_would_run(device, wanted, runs):
    assert runnable_precision(find_device(device), PRECISIONS[wanted]).name == runs


def test_float32_runs_wherever_its_rate_is_known():
    for device in devices():
        if "fp32" in device.flops_per_s:
            assert runnable_precision(device, PRECISIONS["fp32"]).name == "fp32"


def test_what_would_run_can_run():
    for device in devices():
        for precision in PRECISIONS.values():
            runs = runnable_precision(device, precision)
            assert runs is precision or runs.matrix_format in device.flops_per_s
            assert runnable_precision(device, runs) is runs
