"""Own measurements against the textbook's normal distribution, and against what a user would expect of them."""

import math

import pytest

from whichgpu.estimate import OwnMeasurement, estimate, job_key
from whichgpu.estimate.own_measurements import NOISE_SIGMA, Errors, adjustment
from whichgpu.workloads import workload

ERRORS = Errors(device_sigma=0.1, job_sigma=0.2, host_sigma=0.5, own_sigma=0.0, host_weight=0.0)
GPU, OTHER_GPU = "NVIDIA GeForce RTX 4090", "NVIDIA Tesla T4"


def own(device=GPU, job="measured", ratio=1.2, host_weight=0.0, is_cpu=False):
    return OwnMeasurement(device, is_cpu, job, math.log(ratio), host_weight)


def adjusted(*measurements, errors=ERRORS, device=GPU, job="asked", is_cpu=False):
    return adjustment(device, is_cpu, job, errors, measurements)


def test_nothing_measured_changes_nothing():
    found = adjusted()
    assert (found.factor, found.note) == (1.0, "")
    assert found.variance == pytest.approx(0.1**2 + 0.2**2)


@pytest.mark.parametrize("count", [1, 2, 5, 50])
def test_other_jobs_on_the_device_shrink_its_offset_as_the_normal_normal_rule_says(count):
    """Each of n jobs is off by the device's offset and its own error: the textbook's posterior of the offset."""
    found = adjusted(*(own(job=f"job {n}") for n in range(count)))
    of_one = ERRORS.job_sigma**2 + NOISE_SIGMA**2
    shrinkage = ERRORS.device_sigma**2 / (ERRORS.device_sigma**2 + of_one / count)
    assert math.log(found.factor) == pytest.approx(shrinkage * math.log(1.2))
    left = ERRORS.device_sigma**2 * (1 - shrinkage) + ERRORS.job_sigma**2 + NOISE_SIGMA**2
    assert found.variance == pytest.approx(min(left, ERRORS.variance))


def test_the_very_job_on_the_very_device_leaves_little_doubt():
    found = adjusted(own(job="asked"))
    assert found.factor == pytest.approx(1.2, rel=0.02)
    assert math.sqrt(found.variance) < 2 * NOISE_SIGMA


def test_the_job_on_another_gpu_tells_of_the_job_and_not_of_the_gpu():
    found = adjusted(own(OTHER_GPU, "asked"))
    assert 1.0 < found.factor < 1.2
    assert ERRORS.device_sigma**2 < found.variance < ERRORS.variance
    assert found.note == f"Adjusted by one of your own measurements of this job elsewhere (x{found.factor:.2f})."


def test_another_job_on_another_gpu_tells_nothing():
    assert adjusted(own(OTHER_GPU, "another")) == adjusted()


def test_a_cpu_tells_nothing_of_gpus_and_a_gpu_nothing_of_cpus():
    assert adjusted(own("some CPU", "asked", is_cpu=True)) == adjusted()
    assert adjusted(own(OTHER_GPU, "asked"), device="some CPU", is_cpu=True).factor == 1.0


def test_a_step_the_host_decides_tells_of_the_host_alone():
    bound_by_host = own(host_weight=1.0)
    assert adjusted(bound_by_host).factor == 1.0  # the step asked for is the device's own
    asked = Errors(0.1, 0.2, 0.5, 0.0, host_weight=1.0)
    found = adjusted(bound_by_host, errors=asked)
    shrinkage = 0.5**2 / (0.5**2 + NOISE_SIGMA**2)
    assert math.log(found.factor) == pytest.approx(shrinkage * math.log(1.2))


def test_more_measurements_never_leave_more_doubt():
    measured = [own(job="asked"), own(OTHER_GPU, "asked"), own(job="another"), own(job="asked", ratio=1.3)]
    doubts = [adjusted(*measured[:n]).variance for n in range(len(measured) + 1)]
    assert doubts == sorted(doubts, reverse=True)


def test_an_estimate_moves_and_narrows_and_says_so():
    job = workload("resnet50", batch=64)
    plain = estimate(job, GPU)
    measured = [own(job=f"job {n}", ratio=1.3) for n in range(3)]
    found = estimate(job, GPU, own=measured)
    assert 1.0 < found.step_s / plain.step_s < 1.3
    assert found.device_s / plain.device_s == pytest.approx(found.step_s / plain.step_s)
    assert found.interval.high / found.interval.low < plain.interval.high / plain.interval.low
    assert found.interval.low < found.step_s < found.interval.high
    assert any(n.startswith("Adjusted by 3 of your own measurements on this device (x1.") for n in found.notes)
    assert "your own measurements" in found.interval.basis
    assert estimate(job, OTHER_GPU, own=measured) == estimate(job, OTHER_GPU)


def test_a_job_is_known_again_at_another_batch_and_not_in_another_precision():
    assert job_key(workload("gpt2", batch=1), "bf16") == job_key(workload("gpt2", batch=8), "bf16")
    assert job_key(workload("gpt2"), "bf16") != job_key(workload("gpt2"), "fp32")
    assert job_key(workload("gpt2"), "fp32") != job_key(workload("bert-base"), "fp32")
