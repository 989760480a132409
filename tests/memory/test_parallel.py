"""What one of several processes holds: buckets, shards, gathered blocks."""

from dataclasses import replace

import pytest

from tests.fit.models import LAYERS, trained
from whichgpu import estimate
from whichgpu.devices import find_device
from whichgpu.graph import check
from whichgpu.memory.context import nccl_bytes
from whichgpu.memory.parallel import bucketed, per_process, sharded
from whichgpu.memory.replay import replay
from whichgpu.memory.scratch import Libraries


@pytest.fixture(scope="module")
def job():
    return trained(16)


def held(graph, kind, begins=True):
    return sum(s.nbytes for s in graph.storages if s.kind == kind and (s.allocated_at is None) == begins)


def test_buckets_are_as_large_as_gradients_and_always_there(job):
    graph = bucketed(job.graph)
    gradients = held(job.graph, "gradient", begins=False)
    assert held(graph, "buffer") - held(job.graph, "buffer") == gradients
    assert replay(graph).allocated_bytes == pytest.approx(replay(job.graph).allocated_bytes + gradients, rel=0.01)


@pytest.mark.parametrize("processes", [2, 4, 8])
def test_weights_gradients_and_state_are_cut_into_equal_shares(job, processes):
    graph = sharded(job.graph, processes)
    check(replace(job, graph=graph))
    for kind in ("parameter", "optimizer_state"):
        # Each storage is padded to 16 bytes a process.
        most = 16 * sum(s.kind == kind for s in graph.storages)
        assert 0 <= held(graph, kind) - held(job.graph, kind) / processes <= most
    left = sum(s.nbytes for s in graph.storages if s.kind == "gradient" and s.freed_at is None)
    assert left == pytest.approx(held(job.graph, "gradient", begins=False) / processes, rel=0.01)


def test_a_block_s_weights_are_gathered_forward_and_backward(job):
    graph = sharded(job.graph, 4)
    # Weights of one block: norms, joint projection, output, perceptron of 256.
    block = 4 * (4 * 256 + 256 * 768 + 768 + 256 * 256 + 256 + 2 * 256 * 1024 + 1024 + 256)
    gathered = [s for s in graph.storages if s.kind == "activation" and s.nbytes == block]
    assert len(gathered) == 2 * LAYERS
    # The one that runs, the next, and in between the one before, whose last gradients are made.
    edges = [sum(s.allocated_at <= i < s.freed_at for s in gathered) for i in range(len(graph.ops))]
    assert max(edges) <= 3


def test_more_processes_need_less(job):
    sizes = [replay(job.graph).allocated_bytes, *(replay(sharded(job.graph, n)).allocated_bytes for n in (2, 4, 8))]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    ("wrapper", "changed"),
    [
        ("DistributedDataParallel", bucketed),
        ("DistributedDataParallel with gradients as views", lambda graph: graph),
        ("FullyShardedDataParallel", lambda graph: sharded(graph, 4)),
        ("fully_shard", lambda graph: sharded(graph, 4)),
    ],
)
def test_what_a_capture_remembers_of_wrappers_is_counted(job, wrapper, changed):
    started = replace(job, options={"world_size": 4, "parallel_wrappers": (wrapper,)})
    graph, processes = per_process(started)
    assert processes == 4
    assert replay(graph).allocated_bytes == replay(changed(job.graph)).allocated_bytes
    assert estimate(started, "A100 80GB SXM").memory.collective_bytes == nccl_bytes(4)


def test_one_process_is_the_job_itself(job):
    assert per_process(job) == (job.graph, 1)
    assert estimate(job, "A100 80GB SXM").memory.collective_bytes == 0


def test_a_group_of_one_has_its_buckets_and_nothing_of_nccl(job):
    alone = replace(job, options={"parallel_wrappers": ("DistributedDataParallel",), "world_size": 1})
    assert per_process(alone) == (bucketed(job.graph), 1)


@pytest.mark.parametrize(("device", "mib"), [("H100 SXM", 32), ("B200", 32), ("RTX 5090", 32), ("RTX 4090", 8.125)])
def test_what_cublas_is_given(device, mib):
    assert Libraries.of(find_device(device)).cublas_bytes == mib * 2**20
