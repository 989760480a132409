"""Times worked out by hand on a device of round numbers."""

from dataclasses import replace

import pytest

from tests.cost.examples import CPU, DEVICE, elementwise, ideal, matmul
from whichgpu.cost.kernel_table import KernelTable
from whichgpu.cost.roofline import price_table
from whichgpu.graph import precision
from whichgpu.work import Gemm, Kernel


def priced(kernel, device=DEVICE, name="amp-fp16", efficiencies=None, **host):
    table = KernelTable.of_kernels([(kernel, 1)], **host)
    return price_table(table, device, precision(name), efficiencies or ideal())


def test_memory_alone():
    # 1e9 elements read and written in float32: 8 GB at 1 TB/s; 1e9 FLOPs at 2 TFLOP/s take 0.5 ms and hide in it.
    found = priced(elementwise(10**9))
    assert found.memory_s[0] == pytest.approx(8e-3)
    assert found.compute_s[0] == pytest.approx(0.5e-3)
    assert found.seconds[0] == pytest.approx(8e-3, rel=1e-4)


def test_compute_and_memory_together_take_a_little_longer_than_the_longer():
    # 3 ms of arithmetic and 4 ms of traffic: (3^4 + 4^4)^(1/4) = 337^(1/4) = 4.2846 ms.
    kernel = Kernel("elementwise", "float32", 6e9, 2e9, 2e9)
    assert priced(kernel).seconds[0] == pytest.approx(4.2846e-3, rel=1e-4)


def test_a_product_that_fills_the_device_reaches_its_peak():
    # 4096^3 x 2 = 137.4 GFLOP at 16 TFLOP/s.
    assert priced(matmul(4096, 4096, 4096)).compute_s[0] == pytest.approx(8.590e-3, rel=1e-3)


def test_the_last_wave_is_paid_for_even_where_it_is_not_full():
    # 256 x 2176 outputs are 272 tiles of 64 x 32, 17 waves of 16; 256 x 2208 are 276, 18 waves for 1.5 % more work.
    # One such tile is 2 x 64 x 32 x 1000 = 4.096 MFLOP: 4.096 us at 1 TFLOP/s.
    whole = ideal(model={"split_k_us": 100.0})
    assert priced(matmul(256, 2176, 1000), efficiencies=whole).compute_s[0] == pytest.approx(17 * 4.096e-6)
    assert priced(matmul(256, 2208, 1000), efficiencies=whole).compute_s[0] == pytest.approx(18 * 4.096e-6)
    # With half a tail, half of the 18th wave's idle share is forgiven: 17.25 + 0.5 x 0.75 waves.
    half = ideal(model={"split_k_us": 100.0, "tail": 0.5})
    assert priced(matmul(256, 2208, 1000), efficiencies=half).compute_s[0] == pytest.approx(17.625 * 4.096e-6)


def test_a_deep_narrow_product_is_split_along_its_depth():
    # 64 x 32 outputs are one tile: one multiprocessor of 16. Split in 16 parts, all of them work.
    kernel = matmul(64, 32, 160_000)
    assert priced(kernel).compute_s[0] == pytest.approx(2 * 64 * 32 * 10_000 / 1e12)
    # Adding the parts up costs what the coefficient says.
    slow = ideal(model={"split_k_us": 7.0})
    assert priced(kernel, efficiencies=slow).compute_s[0] == pytest.approx(2 * 64 * 32 * 10_000 / 1e12 + 7e-6)


def test_small_tiles_load_more_per_flop():
    # Edge 16: 1 / (1 + 16 (1/256 + 1/128)) = 0.84211 for the largest tile, the best one for a large product.
    edge = ideal(model={"edge": 16.0})
    found = priced(matmul(4096, 4096, 4096), efficiencies=edge).compute_s[0]
    assert found == pytest.approx(8.590e-3 / 0.84211, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "kind", "flops_per_s"),
    [
        ("fp32", "matmul", 2e12),  # PyTorch keeps float32 products exact unless told otherwise
        ("tf32", "matmul", 8e12),
        ("fp32", "convolution", 8e12),  # and lets cuDNN round to TF32
        ("tf32", "convolution", 8e12),
        ("fp32", "rnn", 8e12),
        ("fp32", "attention", 2e12),
        ("tf32", "attention", 8e12),
        ("tf32", "depthwise_convolution", 2e12),  # never on matrix units
        ("tf32", "elementwise", 2e12),
    ],
)
def test_which_float32_kernels_may_run_in_tf32(name, kind, flops_per_s):
    kernel = Kernel(kind, "float32", 1e12, 1.0, 1.0)
    assert priced(kernel, name=name).compute_s[0] == pytest.approx(1e12 / flops_per_s)


def test_without_tf32_units_float32_runs_at_the_float32_rate():
    volta = replace(DEVICE, flops_per_s={"fp32": 2e12, "fp16": 16e12})
    kernel = Kernel("convolution", "float32", 1e12, 1.0, 1.0)
    assert priced(kernel, volta, "tf32").compute_s[0] == pytest.approx(0.5)


def test_a_chip_that_would_draw_more_than_its_limit_runs_slower():
    # 16 TFLOP/s at 75 pJ/FLOP would draw 1,200 W; the limit is 300 W. With the voltage down to a half at no clock, half
    # the clock draws 1/2 x (3/4)^2 = 0.28 of the power, a little more than the quarter there is.
    hot = ideal(family={"picojoules_per_flop": {"fp16": 75.0}})
    kernel = matmul(4096, 4096, 4096)
    slower = priced(kernel, efficiencies=hot).compute_s[0] / 8.590e-3
    clock = 1 / slower
    assert clock * (0.5 + 0.5 * clock) ** 2 == pytest.approx(0.25, rel=2e-3)
    cool = ideal(family={"picojoules_per_flop": {"fp16": 10.0}})
    assert priced(kernel, efficiencies=cool).compute_s[0] == pytest.approx(8.590e-3, rel=1e-3)


def test_what_the_board_draws_beside_leaves_less_for_arithmetic():
    # 50 W whatever it does, and 50 pJ a byte at 1 TB/s: 200 W of 300 are left,
    # just what 16 TFLOP/s at 12.5 pJ/FLOP draw.
    beside = {"idle_w": 50.0, "picojoules_per_byte": 50.0}
    kernel = matmul(4096, 4096, 4096)
    just = ideal(model=beside, family={"picojoules_per_flop": {"fp16": 12.5}})
    assert priced(kernel, efficiencies=just).compute_s[0] == pytest.approx(8.590e-3, rel=1e-3)
    more = ideal(model=beside, family={"picojoules_per_flop": {"fp16": 14.0}})
    assert priced(kernel, efficiencies=more).compute_s[0] > 8.8e-3


def test_chips_of_some_segments_run_above_their_rated_clock():
    faster = ideal(model={"clock": {"datacenter": 1.25}})
    assert priced(matmul(4096, 4096, 4096), efficiencies=faster).compute_s[0] == pytest.approx(
        8.590e-3 / 1.25, rel=1e-3
    )
    assert (
        priced(matmul(4096, 4096, 4096), CPU, "fp32", faster).compute_s[0]
        == priced(matmul(4096, 4096, 4096), CPU, "fp32").compute_s[0]
    )


def test_what_a_small_kernel_touches_lies_in_the_cache():
    # 8 MB touched, half of a 32 MB cache within reach: 16 / (16 + 8) = 2/3 of it at 16 x 250 GB/s, 4 times as fast.
    cached = replace(DEVICE, l2_bytes=32e6, boost_clock_hz=1e9)
    found = priced(elementwise(10**6), cached).memory_s[0]
    assert found == pytest.approx(8e-6 * (1 - 2 / 3 * 0.75), rel=1e-4)
    # A cache no faster than memory gains nothing, nor does one of unknown speed.
    slow = replace(cached, boost_clock_hz=0.2e9)
    assert priced(elementwise(10**6), slow).memory_s[0] == pytest.approx(8e-6, rel=1e-4)
    assert priced(elementwise(10**6), replace(cached, boost_clock_hz=None)).memory_s[0] == pytest.approx(8e-6, rel=1e-4)
    # Of 8 GB next to nothing.
    assert priced(elementwise(10**9), cached).memory_s[0] == pytest.approx(8e-3, rel=2e-3)


def test_neighbours_read_again_what_the_cache_does_not_hold():
    # 16 multiprocessors of 128 rows x 4096 x 2 bytes touch 16.8 MB a wave: of a cache as large half a wave is not held.
    kernel = matmul(4096, 4096, 4096)
    cached = replace(DEVICE, l2_bytes=16 * 128 * 4096 * 2)
    plain = priced(kernel, cached).memory_s[0]
    assert priced(kernel, cached, efficiencies=ideal(reread={"matmul": 3.0})).memory_s[0] == pytest.approx(2.5 * plain)


def test_channels_outermost_are_reordered_for_matrix_units_only():
    kernel = Kernel("convolution", "float16", 1e9, 6e9, 2e9)
    two = ideal(reorder={"convolution": 0.5, "convolution.fp16": 4.0})
    assert priced(kernel, efficiencies=two).memory_s[0] == pytest.approx(8e-3 + 2 * 8e-3)
    assert priced(replace(kernel, channels_last=True), efficiencies=two).memory_s[0] == pytest.approx(8e-3)
    exact = replace(DEVICE, flops_per_s={"fp32": 2e12})
    plain = replace(kernel, dtype="float32")
    assert priced(plain, exact, "fp32", efficiencies=two).memory_s[0] == pytest.approx(8e-3)


def test_coefficients_of_all_that_holds_for_a_kernel_multiply():
    # A grouped convolution of wide groups: half the rate for groups, 0.8 of that for the gradient of their weights.
    kernel = Kernel("convolution", "float16", 16e9, 1.0, 1.0, Gemm(4, 64, 64, 64), "wgrad", window=1)
    some = {"convolution.grouped": 0.5, "convolution.grouped.wgrad": 0.8, "convolution.grouped.narrow": 0.1}
    slower = priced(kernel, efficiencies=ideal(compute=some)).compute_s[0] / priced(kernel).compute_s[0]
    assert slower == pytest.approx(1 / 0.4)


def test_float32_products_run_in_the_tiles_their_library_has():
    # Batched products in tiles of 128 x 128 only: 64 x 64 outputs take as long as 128 x 128.
    batched = ideal(tiles={"batched": {"128x128": 1.0}}, model={"split_k_us": 100.0})
    times = [
        priced(matmul(n, n, 1000, batch=160, dtype="float32"), name="fp32", efficiencies=batched).compute_s[0]
        for n in (64, 128)
    ]
    assert times[0] == times[1]
    # On matrix units the choice is free.
    assert (
        priced(matmul(64, 64, 1000, 160), efficiencies=batched).compute_s[0]
        < priced(matmul(128, 128, 1000, 160), efficiencies=batched).compute_s[0]
    )


def test_older_software_lacks_what_every_later_release_gained():
    gained = [
        {"until": "1.10", "source": "made up", "memory": {"elementwise": 0.5}},
        {"until": "2.1", "source": "made up", "memory": {"elementwise": 0.8}, "host": 2.0},
    ]
    found = ideal(software=gained, host={"op_us": 10.0})
    table = KernelTable.of_kernels([(elementwise(10**9), 1)], op_calls=1)
    for version, memory, host in (("1.9.0a0", 0.4, 2.0), ("1.13", 0.8, 2.0), ("2.4", 1.0, 1.0), ("", 1.0, 1.0)):
        at = price_table(table, DEVICE, precision("fp32"), found, found.software_of(version))
        assert at.memory_s[0] == pytest.approx(8e-3 / memory)
        assert at.host_s == pytest.approx(10e-6 * host)


def test_starting_kernels_costs_device_time():
    starts = ideal(family={"kernel_start_us": 3.0})
    kernel = replace(elementwise(10**9), launches=4)
    found = priced(kernel, efficiencies=starts)
    assert found.launch_s[0] == pytest.approx(12e-6)
    assert found.seconds[0] == pytest.approx(8e-3 + 12e-6, rel=1e-4)


def test_the_host_issues_calls_one_by_one():
    # 100 ops at 8 us, 20 more launches at 4, 50 views at 2, one wait at 30: 1,010 us.
    host = ideal(host={"op_us": 8.0, "launch_us": 4.0, "view_us": 2.0, "synchronization_us": 30.0})
    calls = {"op_calls": 100, "extra_launches": 20, "view_calls": 50, "synchronizations": 1}
    found = priced(elementwise(1), efficiencies=host, **calls)
    assert found.host_s == pytest.approx(1010e-6)
    assert found.step_s == pytest.approx(1010e-6, rel=1e-3)


def test_compiled_code_is_entered_and_launches():
    # 100 launches at 5 us, entered twice at 40: 580 us.
    host = ideal(host={"compiled_launch_us": 5.0, "compiled_call_us": 40.0})
    found = priced(elementwise(1), efficiencies=host, compiled_launches=100, compiled_calls=2)
    assert found.host_s == pytest.approx(580e-6)


def test_host_and_device_work_at_the_same_time():
    # Both take 8 ms: 2^(1/6) = 1.1225 times that.
    host = ideal(host={"op_us": 8.0})
    assert priced(elementwise(10**9), efficiencies=host, op_calls=1000).step_s == pytest.approx(8.980e-3, rel=1e-3)


def test_on_a_cpu_they_are_the_same():
    host = ideal(host={"op_us": 8.0})
    assert priced(elementwise(10**9), CPU, "fp32", host, op_calls=1000).step_s == pytest.approx(16e-3, rel=1e-3)


def test_on_a_cpu_products_are_not_tiled():
    assert priced(matmul(8, 8, 1000, dtype="float32"), CPU, "fp32").compute_s[0] == pytest.approx(128e3 / 1e12)


@pytest.mark.parametrize(
    ("change", "kernel", "words"),
    [
        ({"tdp_w": None}, matmul(64, 64, 64), "power limit is unknown"),
        ({"multiprocessors": None}, matmul(64, 64, 64), "number of multiprocessors is unknown"),
        ({"l2_bytes": None}, elementwise(64), "size of its cache is unknown"),
        (
            {"flops_per_s": {"fp32": 1e12, "fp8": 3e13}},
            matmul(64, 64, 64, dtype="float8_e4m3fn"),
            "nothing was measured",
        ),
        ({"flops_per_s": {"fp32": 2e12}}, matmul(64, 64, 64), "fp16 matrix math is priced at the fp32 rate"),
        ({"flops_per_s": {"fp16": 2e12}}, elementwise(10), "FP32 rate is unknown"),
        ({}, matmul(64, 64, 64, dtype="float64"), "float64 matrix math is priced at the float32 rate"),
    ],
)
def test_what_a_device_file_does_not_say_is_assumed_aloud(change, kernel, words):
    assert any(words in text for text in priced(kernel, replace(DEVICE, **change)).assumptions)


def test_nothing_is_assumed_where_everything_is_known():
    assert priced(matmul(64, 64, 64), replace(DEVICE, l2_bytes=16e6)).assumptions == ()


def test_with_an_unknown_number_of_multiprocessors_a_product_still_takes_its_time():
    found = priced(matmul(4096, 4096, 4096), replace(DEVICE, multiprocessors=None))
    assert found.compute_s[0] == pytest.approx(8.590e-3, rel=1e-3)


def test_an_unknown_rate_is_never_free():
    unknown = replace(DEVICE, flops_per_s={})
    found = priced(matmul(1024, 1024, 1024), unknown)
    assert found.seconds[0] == pytest.approx(3 * 2 * 1024**2 / 1e12)
    assert any("arithmetic rate is unknown" in text for text in found.assumptions)


def test_a_multiprocessor_goes_through_so_many_elements_a_clock():
    # 16 multiprocessors at 1 GHz with 2 elements a clock: 32e9 a second; half precision saves bytes, not elements.
    clocked = replace(DEVICE, boost_clock_hz=1e9)
    bound = ideal(elements_per_clock={"copy": 2.0})
    copies = [Kernel("copy", dtype, 0.0, size * 1e9, size * 1e9) for dtype, size in (("float32", 4), ("float16", 2))]
    times = [priced(kernel, clocked, efficiencies=bound).memory_s[0] for kernel in copies]
    assert times == pytest.approx([2 / 32, 2 / 32], rel=1e-3)
    # Nothing is bound by what is not known.
    assert priced(copies[0], efficiencies=bound).memory_s[0] == pytest.approx(8e-3)
    assert priced(replace(copies[0], kind="gather"), clocked, efficiencies=bound).memory_s[0] == pytest.approx(8e-3)


def test_attention_goes_through_pairs_of_whole_blocks():
    clocked = replace(DEVICE, boost_clock_hz=1e9)
    bound = ideal(elements_per_clock={"attention": 2.0, "attention.efficient": 0.5})
    flash = Kernel("attention", "float16", 0.0, 1.0, 1.0, items=32e6)
    assert priced(flash, clocked, efficiencies=bound).memory_s[0] == pytest.approx(1e-3)
    other = replace(flash, variant="efficient")
    assert priced(other, clocked, efficiencies=bound).memory_s[0] == pytest.approx(2e-3)


def test_a_family_may_qualify_all_its_kernels():
    kernel = replace(matmul(4096, 4096, 4096), aligned=False)
    some = {"matmul.ragged.fp16": 0.5, "matmul.ragged.fp16.hopper": 0.5}
    found = [
        priced(kernel, efficiencies=ideal(compute=some, family=family)).compute_s[0]
        for family in ({}, {"qualifier": "hopper"})
    ]
    assert found == pytest.approx([2 * priced(kernel).compute_s[0], 4 * priced(kernel).compute_s[0]])


def test_families_that_were_mature_gained_less_by_later_releases():
    gained = [{"until": "1.12", "source": "made up", "compute": {"matmul": 0.25}}]
    table = KernelTable.of_kernels([(matmul(4096, 4096, 4096), 1)])

    def seconds(family):
        found = ideal(software=gained, family=family, model={"mature_gain": 0.5})
        return price_table(table, DEVICE, precision("fp32"), found, found.software_of("1.10")).compute_s[0]

    new = seconds({})
    assert seconds({"mature_since": "1.9"}) == pytest.approx(new / 2)
    assert seconds({"mature_since": "1.12"}) == pytest.approx(new)  # until then it lacked as much


def test_no_float32_product_does_more_than_its_units():
    kernel = matmul(8192, 8192, 8192, dtype="float32", itemsize=4)
    fast = ideal(compute={"matmul": 1.2}, family={"matrix": {"fp32": 1.1, "tf32": 1.0, "fp16": 1.0}})
    assert priced(kernel, efficiencies=fast).compute_s[0] == pytest.approx(priced(kernel).compute_s[0])
