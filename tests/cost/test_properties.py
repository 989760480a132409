"""What must hold whatever the coefficients: more work, or a worse device, is never faster."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cost.examples import DEVICE, elementwise, matmul
from whichgpu.cost import efficiencies, price, tabulate
from whichgpu.cost.kernel_table import KernelTable
from whichgpu.cost.rates import Rates
from whichgpu.devices import devices
from whichgpu.graph import precision
from whichgpu.work import Gemm, count_graph
from whichgpu.workloads import workload

sizes = st.integers(1, 5000)
products = st.builds(matmul, sizes, sizes, sizes, st.integers(1, 64), st.sampled_from(["float16", "float32"]))
kernels = st.one_of(products, st.builds(elementwise, st.integers(1, 10**9)))
gpus = st.sampled_from([d for d in devices() if not d.is_cpu])
modes = st.sampled_from(["fp32", "tf32", "amp-fp16"])
more = st.floats(1.0, 3.0)


def step_s(kernel, device, mode, **host):
    return price(KernelTable.of_kernels([(kernel, 3)], **host), device, precision(mode)).step_s


@given(kernels, gpus, modes, more, more, more, more, more)
def test_a_device_better_everywhere_is_never_slower(kernel, device, mode, flops, bandwidth, watts, cache, units):
    """More multiprocessors count as better only if each is as fast and has as much cache as before.

    More bandwidth does only if its power does not take from that of arithmetic.
    """
    count = device.multiprocessors or 1
    units = int(count * units) / count
    better = replace(
        device,
        flops_per_s={name: rate * flops * units for name, rate in device.flops_per_s.items()},
        memory_bandwidth_bytes_per_s=device.memory_bandwidth_bytes_per_s * bandwidth,
        tdp_w=None if device.tdp_w is None else device.tdp_w * watts * flops * units * bandwidth,
        l2_bytes=None if device.l2_bytes is None else device.l2_bytes * cache * units,
        multiprocessors=None if device.multiprocessors is None else int(count * units),
    )
    assert step_s(kernel, better, mode) <= step_s(kernel, device, mode) * (1 + 1e-9)


@given(kernels, gpus, modes, more)
def test_a_higher_power_limit_is_never_slower(kernel, device, mode, watts):
    tdp_w = device.tdp_w or 100.0
    assert step_s(kernel, replace(device, tdp_w=tdp_w * watts), mode) <= step_s(
        kernel, replace(device, tdp_w=tdp_w), mode
    ) * (1 + 1e-9)


@given(products, gpus, modes)
def test_no_product_beats_the_roofline(kernel, device, mode):
    table = KernelTable.of_kernels([(kernel, 1)])
    found = price(table, device, precision(mode))
    best = max(device.flops_per_s.values())
    assert found.seconds[0] >= kernel.flops / best / efficiencies_above_one(device)
    from_cache = Rates.of(device, precision(mode), efficiencies()).cache_bytes_per_s if device.l2_bytes else None
    fastest = max(device.memory_bandwidth_bytes_per_s * max(1.0, found.family.memory), from_cache or 0.0)
    assert found.seconds[0] >= kernel.bytes_moved / fastest * (1 - 1e-9)


def efficiencies_above_one(device):
    """Some datasheets print the vector rate where matrix units do more (MI100 in FP32), or a clock that is passed."""
    clock = efficiencies().model.clock.get(device.segment, 1.0)
    return clock * max(1.0, *efficiencies().family_of(device).matrix.values())


@given(sizes, sizes, sizes, st.integers(1, 32), gpus, modes, st.integers(1, 7))
def test_a_larger_product_never_takes_less_time(m, n, k, batch, device, mode, factor):
    # One product and a batch of them run in different kernels: from 1 to 2 time may fall.
    sizes_of_more = [(m * factor, n, k, batch), (m, n * factor, k, batch)]
    for larger in sizes_of_more + [(m, n, k, batch * factor)] * (batch > 1):
        assert step_s(matmul(*larger), device, mode) >= step_s(matmul(m, n, k, batch), device, mode) * (1 - 1e-9)


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from(["Tesla T4", "RTX 4090", "A100 80GB SXM", "MI300X"]))
def test_a_larger_batch_never_takes_less_time(first, second, name):
    from whichgpu.devices import find_device

    small, large = sorted((first, second))
    device = find_device(name)
    times = [
        price(count_graph(workload("resnet50", batch=b, precision="fp32").graph), device, precision("fp32")).step_s
        for b in (small, large)
    ]
    assert times[0] <= times[1] * (1 + 1e-9)


@pytest.mark.parametrize("name", ["resnet50", "gpt2", "mnist"])
def test_a_step_takes_at_least_its_flops_and_is_the_sum_of_its_kernels(name):
    job = workload(name)
    work = count_graph(job.graph)
    table = tabulate(work)
    for device in devices():
        found = price(table, device, precision(job.precision))
        peak = max(device.flops_per_s.values()) * efficiencies_above_one(device)
        matrix = sum(k.flops * n for k, n in zip(table.kernels, table.calls, strict=True) if k.gemm is not None)
        assert found.device_s >= matrix / peak
        assert np.all(found.seconds > 0) and np.all(np.isfinite(found.seconds)), device.name
        assert found.device_s == pytest.approx(float(np.sum(found.calls * found.seconds)))


def test_the_table_keeps_every_kernel_and_call():
    work = count_graph(workload("mnist").graph)
    table = tabulate(work)
    assert float(table.calls @ table.flops) == pytest.approx(work.flops)
    assert float(table.calls @ table.bytes_moved) == pytest.approx(work.bytes_moved)
    assert float(table.calls @ table.launches) == work.launches
    assert table.op_calls + table.view_calls == work.host_calls
    assert table.op_calls + table.extra_launches == work.launches


def test_tiles_cover_the_product():
    table = KernelTable.of_kernels([(matmul(1000, 70, 512, 3), 1)])
    # 256 x 128 tiles: 4 x 1 x 3; 32 x 32: 32 x 3 x 3.
    assert table.tile_count[0, 0, 0] == 12
    assert table.tile_count[-1, 0, 0] == 288
    # A sum of 512 is split in 4 parts of 128, not in 16 of 32 or 64 of 8.
    assert table.tile_depth[0, :, 0].tolist() == [512, 128, float("inf"), float("inf")]
    assert table.kernels[0].gemm == Gemm(3, 1000, 70, 512)
    assert DEVICE.multiprocessors == 16
