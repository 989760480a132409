"""torch.cuda, torch.accelerator and torch.backends answer on the phantom GPU as scripts expect of a real one."""

import inspect
import io
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional

from whichgpu.work import count_graph

pytestmark = pytest.mark.usefixtures("phantom")


def test_memory_statistics():
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    block = torch.empty(1000, device="cuda")
    assert torch.cuda.memory_stats()["allocated_bytes.all.current"] == before + 4000
    assert torch.accelerator.memory_allocated() == before + 4000
    del block
    assert torch.cuda.memory_stats()["allocated_bytes.all.peak"] == before + 4000
    free, total = torch.cuda.mem_get_info()
    assert total - free == before
    assert "Allocated memory" in torch.cuda.memory_summary()


def test_streams_are_entered_and_left():
    outer, inner = torch.cuda.Stream(), torch.cuda.Stream(device=0, priority=-1)
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    with torch.cuda.stream(outer):
        assert torch.cuda.current_stream("cuda") == outer != inner
        with inner, torch.cuda.stream(None):
            assert torch.cuda.current_stream(device=0) == inner
        made = torch.zeros(3).cuda(non_blocking=True)
        made.record_stream(torch.cuda.current_stream())
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    outer.wait_event(inner.record_event())
    assert isinstance(outer, torch.Stream)


class Prefetcher:
    """Loads the next batch on a stream of its own."""

    def __init__(self, loader):
        self.loader = iter(loader)
        self.stream = torch.cuda.Stream()
        self.mean = torch.tensor([1.0, 2.0, 3.0]).cuda().view(1, 3, 1, 1)
        self.preload()

    def preload(self):
        try:
            self.batch = next(self.loader)
        except StopIteration:
            self.batch = None
            return
        with torch.cuda.stream(self.stream):
            images, labels = (t.cuda(non_blocking=True) for t in self.batch)
            self.batch = images.float().sub_(self.mean), labels

    def next(self):
        torch.cuda.current_stream().wait_stream(self.stream)
        batch = self.batch
        if batch is not None:
            for tensor in batch:
                tensor.record_stream(torch.cuda.current_stream())
            self.preload()
        return batch


def test_a_prefetcher_on_a_stream_of_its_own(record, names):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).cuda()
    data = torch.utils.data.TensorDataset(torch.zeros(8, 3, 8, 8, dtype=torch.uint8), torch.zeros(8).long())
    loader = torch.utils.data.DataLoader(data, batch_size=4, pin_memory=True)

    def step():
        prefetcher = Prefetcher(loader)
        while (batch := prefetcher.next()) is not None:
            functional.cross_entropy(model(batch[0]), batch[1]).backward()

    job = record(step)
    copies = [op for op in job.graph.ops if op.name == "memcpy.h2d"]
    # Both batches of images and labels without waiting, and the mean of each pass.
    assert [op.attributes.get("non_blocking", False) for op in copies] == [False, True, True, True, True]
    assert names(job)["aten.convolution.default"] == 2


def test_tensor_types_by_name():
    floats = torch.cuda.FloatTensor if torch.cuda.is_available() else torch.FloatTensor
    made = floats(2, 3).fill_(1.0)
    assert made.is_cuda
    assert made.shape == (2, 3)
    assert made.type() == "torch.cuda.FloatTensor"
    assert isinstance(made, torch.cuda.FloatTensor)
    assert not isinstance(made, torch.cuda.HalfTensor)
    assert torch.cuda.LongTensor([1, 2]).tolist() == [1, 2]
    assert torch.zeros(3).type(torch.cuda.HalfTensor).dtype == torch.float16
    assert made.type("torch.cuda.LongTensor").dtype == torch.int64
    assert made.type(torch.FloatTensor).device.type == "cpu"
    assert made.new(4, 5).shape == (4, 5)
    assert made.new([1.0, 2.0]).is_cuda


def test_a_default_device_and_a_default_tensor_type():
    torch.set_default_device("cuda")
    try:
        assert nn.Linear(2, 2).weight.is_cuda
        assert torch.tensor([1]).is_cuda
    finally:
        torch.set_default_device(None)
    torch.set_default_tensor_type("torch.cuda.FloatTensor")
    assert torch.zeros(2).is_cuda
    torch.set_default_tensor_type(torch.FloatTensor)
    assert not torch.zeros(2).is_cuda


def test_generators():
    generator = torch.Generator(device="cuda").manual_seed(3)
    assert generator.device == torch.device("cuda", 0)
    assert isinstance(generator, torch.Generator)
    assert torch.randn(3, device="cuda", generator=generator).is_cuda
    assert torch.Generator().device.type == "cpu"
    with torch.random.fork_rng():
        torch.manual_seed(0)
    torch.cuda.set_rng_state(torch.cuda.get_rng_state())


def test_modules_go_to_a_device_by_number():
    layer = nn.Linear(2, 2).to(0)
    assert layer.weight.is_cuda
    assert nn.Linear(2, 2).cuda(0).weight.is_cuda
    assert torch.zeros(2).to(0, non_blocking=True).is_cuda
    with torch.cuda.device(0), torch.cuda.device_of(layer.weight):
        assert torch.zeros(1).cuda().is_cuda


def test_pinned_memory():
    assert torch.zeros(3, pin_memory=True).device.type == "cpu"
    assert torch.zeros(3).pin_memory().shape == (3,)
    layer = nn.Linear(4, 4).cuda()
    with torch.autograd.graph.save_on_cpu(pin_memory=True):
        loss = layer(torch.zeros(2, 4, device="cuda", requires_grad=True)).pow(2).sum()
    loss.backward()
    assert layer.weight.grad.is_cuda


def test_a_cuda_graph_is_replayed(record, names):
    layer = nn.Linear(4, 4).cuda()
    static = torch.zeros(2, 4, device="cuda")
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        layer(static).sum().backward()
    graph = torch.cuda.CUDAGraph()
    layer.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        assert torch.cuda.is_current_stream_capturing()
        layer(static).sum().backward()
    assert not torch.cuda.is_current_stream_capturing()

    def step():
        static.copy_(torch.ones(2, 4))
        graph.replay()

    job = record(step)
    host = ("memcpy.h2d", "cuda.graph_launch")
    launched = {name: count for name, count in names(job).items() if name not in host}
    layer.zero_grad()
    assert launched == names(record(lambda: layer(static).sum().backward() or layer.zero_grad()))
    assert names(job)["memcpy.h2d"] == names(job)["cuda.graph_launch"] == 1
    work = count_graph(job.graph)
    assert (work.graph_launches, work.host_calls) == (1, 1)
    assert {count.op.name for count in work.counts if not count.replayed} == {"memcpy.h2d"}
    assert names(job)["aten.addmm.default"] == names(job)["aten.mm.default"] == 1
    assert any("CUDA graphs" in note for note in job.notes)


def test_the_memory_of_a_cuda_graph_is_that_of_the_step_it_holds(record):
    layers = nn.Sequential(*[nn.Sequential(nn.Linear(64, 64), nn.ReLU()) for _ in range(4)]).cuda()
    optimizer = torch.optim.AdamW(layers.parameters(), capturable=True)
    static = torch.zeros(512, 64, device="cuda")

    def step():
        optimizer.zero_grad(set_to_none=True)
        layers(static).sum().backward()
        optimizer.step()

    eager = record(step).graph.peak_bytes()
    graph = torch.cuda.CUDAGraph()
    optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        step()
    # A step that does nothing but replay it: the pool of the graph is there from the first op to the last.
    replayed = record(graph.replay).graph
    assert replayed.peak_bytes() == replayed.resident_bytes() == pytest.approx(eager, rel=0.02)


def test_graphed_callables_are_called(record, names):
    layer = torch.cuda.make_graphed_callables(nn.Linear(4, 4).cuda(), (torch.zeros(2, 4, device="cuda"),))
    assert names(record(lambda: layer(torch.zeros(2, 4, device="cuda"))))["aten.addmm.default"] == 1


def test_data_parallel_on_one_device(record, names):
    late, early = nn.DataParallel(nn.Linear(4, 4)).cuda(), nn.DataParallel(nn.Linear(4, 4).cuda(), device_ids=[0])
    on_host, there = torch.zeros(2, 4), torch.zeros(2, 4, device="cuda")
    job = record(lambda: (late(there) + early(on_host)).sum().backward())
    assert names(job)["aten.addmm.default"] == 2
    assert names(job)["memcpy.h2d"] == 1


def test_switches_and_versions():
    assert torch.version.cuda
    assert torch.backends.cuda.is_built()
    assert torch.backends.cudnn.is_available()
    assert torch.backends.cuda.cufft_plan_cache[0].size == 0
    assert torch.get_device_module() is torch.cuda
    with torch.backends.cudnn.flags(enabled=True, benchmark=True):
        pass
    with torch.cuda.nvtx.range("step"):
        torch.cuda.nvtx.mark("here")
    torch.cuda.cudart().cudaProfilerStart()
    assert torch.accelerator.current_accelerator().type == "cuda"
    assert not torch.backends.mps.is_available()
    properties = torch.cuda.get_device_properties("cuda:0")
    assert properties.total_memory > 0
    assert properties.major == torch.cuda.get_device_capability()[0]


def test_a_profiler_around_a_step(record):
    layer = nn.Linear(4, 4).cuda()

    def step():
        with torch.profiler.profile() as profiler, torch.profiler.record_function("forward"):
            layer(torch.zeros(2, 4, device="cuda")).sum().backward()
            profiler.step()
        with torch.autograd.set_detect_anomaly(True):
            layer(torch.zeros(2, 4, device="cuda")).sum().backward()

    assert record(step).graph.ops


def test_threads_have_the_device_too():
    made = []
    thread = threading.Thread(target=lambda: made.append(torch.zeros(3).cuda() + torch.ones(3, device="cuda")))
    thread.start()
    thread.join()
    assert made[0].is_cuda


def test_numbers_in_messages():
    loss = torch.zeros(3, device="cuda").sum()
    assert f"{loss:.2f}" == "0.00"
    assert f"{torch.randn(3, device='cuda').sum():.1f}" == "1.0"
    print(loss, file=io.StringIO())
    assert inspect.isclass(torch.cuda.OutOfMemoryError)
