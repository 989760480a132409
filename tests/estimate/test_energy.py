"""Energy of a step on a device of round numbers, and that no board draws more than its limit."""

from dataclasses import replace

import pytest

from tests.cost.examples import CPU, DEVICE, elementwise, ideal
from whichgpu.cost.kernel_table import KernelTable
from whichgpu.cost.roofline import price_table
from whichgpu.devices import devices
from whichgpu.estimate import estimate
from whichgpu.estimate.energy import energy_j
from whichgpu.graph import precision
from whichgpu.workloads import workload


def test_bytes_flops_and_the_board_itself_draw():
    # 8 GB at 20 pJ a byte are 0.16 J, 1e9 FLOPs at 50 pJ 0.05 J, 8 ms of 10 W 0.08 J.
    found = ideal(model={"idle_w": 10.0, "picojoules_per_byte": 20.0}, family={"picojoules_per_flop": {"fp32": 50.0}})
    table = KernelTable.of_kernels([(elementwise(10**9), 1)])
    priced = price_table(table, DEVICE, precision("fp32"), found)
    assert energy_j(priced, DEVICE) == pytest.approx(0.16 + 0.05 + 0.08, rel=1e-3)
    assert energy_j(priced, replace(DEVICE, tdp_w=20.0)) == pytest.approx(20.0 * 8e-3, rel=1e-3)
    assert energy_j(priced, replace(DEVICE, tdp_w=None)) is None
    assert energy_j(priced, CPU) is None


def test_no_board_draws_more_than_its_limit_nor_nothing():
    job = workload("gpt2")
    for device in devices():
        if device.is_cpu or device.tdp_w is None:
            continue
        found = estimate(job, device, allow_fallback=True)
        assert 0 < found.energy_j <= device.tdp_w * found.step_s * (1 + 1e-9)
