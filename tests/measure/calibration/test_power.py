"""Power and clocks from a management library that plays back what one said."""

import time
from types import SimpleNamespace

import pytest

from whichgpu.measure.calibration.power import PowerMeter


class NvmlError(Exception):
    pass


def library(**answers):
    """Return a library that knows one GPU and answers as given; a list is played back, its last one for good."""

    def function(name):
        def answer(handle, *arguments):
            value = answers[name]
            if isinstance(value, dict):
                value = value[arguments[0]]
            if isinstance(value, list):
                value = value.pop(0) if len(value) > 1 else value[0]
            if value is NvmlError:
                raise NvmlError
            return value

        return answer

    functions = {name: function(name) for name in answers if name.startswith("nvmlDevice")}
    return SimpleNamespace(
        NVMLError=NvmlError,
        NVML_CLOCK_SM="sm",
        NVML_CLOCK_MEM="mem",
        NVML_TEMPERATURE_GPU="gpu",
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda name: name,
        nvmlSystemGetDriverVersion=lambda: b"580.1",
        **functions,
    )


RECORDED = {
    "nvmlDeviceGetPowerUsage": [300_000, 690_000, 700_000],
    "nvmlDeviceGetClockInfo": {"sm": [1980, 1755], "mem": [2619]},
    "nvmlDeviceGetTemperature": 61,
    "nvmlDeviceGetCurrentClocksThrottleReasons": [0, 0x4],
}


def read(nvml, seconds=0.1):
    meter = PowerMeter.opened(nvml, "1234")
    with meter.reading() as reading:
        time.sleep(seconds)
    return reading.power


def test_clocks_power_and_what_held_them_back_are_read():
    power = read(library(**RECORDED))
    assert power.samples >= 3
    assert (power.power_source, power.sm_clock_low_hz, power.memory_clock_hz) == ("samples", 1755e6, 2619e6)
    assert 300 < power.power_w < 700
    assert power.throttled_by == ("sw_power_cap",)
    assert power.temperature_c == 61


def test_an_energy_counter_is_better_than_samples():
    power = read(library(**RECORDED, nvmlDeviceGetTotalEnergyConsumption=[1_000_000, 1_050_000]))
    assert power.power_source == "energy counter"
    assert power.power_w == pytest.approx(50 / power.seconds)


def test_what_the_driver_does_not_tell_stays_unknown():
    refusing = dict.fromkeys(RECORDED, NvmlError) | {"nvmlDeviceGetTemperature": 50}
    power = read(library(**refusing))
    assert (power.power_w, power.sm_clock_hz, power.throttled_by) == (None, None, ())
    assert power.temperature_c == 50


def test_without_a_driver_nothing_is_read():
    broken = library(**RECORDED)

    def fail():
        raise NvmlError

    broken.nvmlInit = fail
    meter = PowerMeter.opened(broken, "1234")
    assert not meter.is_there
    assert meter.ask_library("nvmlSystemGetDriverVersion") is None
    with meter.reading() as reading:
        pass
    assert reading.power is None


def test_a_gpu_is_found_by_the_id_torch_gives():
    meter = PowerMeter.opened(library(**RECORDED), "1234")
    assert meter._handle == "GPU-1234"
    assert meter.ask_library("nvmlSystemGetDriverVersion") == b"580.1"
