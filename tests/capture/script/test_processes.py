"""Scripts that start processes to train in: the first one is followed."""

import pytest

from whichgpu.capture.script.processes import ONE_OF_THEM

TRAIN = """
import sys
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

def train(rank, world, *more):
    assert rank == 0, "another one was started"
    {group}
    model = nn.Linear(8, 4).cuda(rank)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for i in range(4):
        optimizer.zero_grad()
        model(torch.ones(2, 8).cuda(rank)).sum().backward()
        optimizer.step()

if __name__ == "__main__":
    {start}
"""
GROUP = "dist.init_process_group('nccl', init_method='tcp://127.0.0.1:2345', world_size=world, rank=rank)"


@pytest.mark.parametrize("run", ["phantom", "real"])
def test_spawn(script, request, run):
    text = TRAIN.format(group=GROUP, start="mp.spawn(train, nprocs=4, args=(4,))")
    outcome = request.getfixturevalue(run)(script(text))
    assert outcome.status == "done", outcome.traceback
    assert outcome.seen.world_size == 4
    assert ONE_OF_THEM in outcome.seen.notes


def test_processes_with_a_rank_or_a_model(script, phantom):
    start = """
    mp.set_start_method("spawn")
    shared = nn.Linear(8, 4).cuda()
    shared.share_memory()
    processes = [mp.Process(target=train, args=(rank, 2, shared)) for rank in range(2)]
    for p in processes:
        p.start()
    for p in processes:
        p.join()
    print(*(p.exitcode for p in processes))
"""
    outcome = phantom(script(TRAIN.format(group="", start=start)))
    assert outcome.status == "done", outcome.traceback
    assert ONE_OF_THEM in outcome.seen.notes


def test_processes_that_exchange_data_are_real(script, phantom):
    text = """
import multiprocessing as mp
import torch

def produce(number, queue):
    for i in range(4):
        queue.put(number)

if __name__ == "__main__":
    queue = mp.get_context("fork").Queue()
    worker = mp.get_context("fork").Process(target=produce, args=(3, queue))
    worker.start()
    model = torch.nn.Linear(8, 4).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for i in range(4):
        optimizer.zero_grad()
        model(torch.full((2, 8), float(queue.get())).cuda()).sum().backward()
        optimizer.step()
"""
    outcome = phantom(script(text))
    assert outcome.status == "done", outcome.traceback
    assert not outcome.seen.world_size > 1


def test_a_process_that_only_tests_is_passed_by(script, phantom):
    """Hogwild: the tester comes first and never ends; those that train get a lock beside the model."""
    text = """
import time, torch
import torch.multiprocessing as mp
from torch import nn

def test(model, counter):
    while True:
        with torch.no_grad():
            model(torch.zeros(1, 8))
        time.sleep(0.1)

def train(rank, model, counter, lock, optimizer):
    while True:
        optimizer.zero_grad()
        model(torch.randn(16, 8)).pow(2).mean().backward()
        optimizer.step()
        with lock:
            counter.value += 1

if __name__ == "__main__":
    model = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    counter, lock = mp.Value("i", 0), mp.Lock()
    ps = [mp.Process(target=test, args=(model, counter))]
    ps += [mp.Process(target=train, args=(r, model, counter, lock, optimizer)) for r in range(2)]
    for p in ps:
        p.start()
    for p in ps:
        p.join()
"""
    outcome = phantom(script(text), on_gpu=True)
    assert outcome.status == "done", outcome.traceback
    assert outcome.seen.optimizers == ["SGD"]
