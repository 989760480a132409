from whichgpu import workload
from whichgpu.capture.script.host_memory import host_bytes

MIB = 1024**2


def test_a_step_in_float32_needs_its_tensors_and_a_process():
    graph = workload("gpt2", batch=2, precision="fp32").graph
    assert host_bytes(graph) == graph.peak_bytes() + 500 * MIB


def test_half_precision_counts_as_what_a_cpu_may_train_in():
    half = workload("gpt2", batch=2, precision="bf16").graph
    full = workload("gpt2", batch=2, precision="fp32").graph
    assert half.peak_bytes() < 0.7 * full.peak_bytes()
    assert abs(host_bytes(half) / host_bytes(full) - 1) < 0.01
