"""The phantom GPU behaves as a CUDA device of shapes and dtypes."""

import copy

import pytest
import torch
from torch import nn

pytestmark = pytest.mark.usefixtures("phantom")


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.zeros(2, 3, device="cuda"),
        lambda: torch.zeros(2, 3, device="cuda:0"),
        lambda: torch.zeros(2, 3, device=torch.device("cuda", 0)),
        lambda: torch.zeros(2, 3, device=0),
        lambda: torch.zeros(2, 3).cuda(),
        lambda: torch.zeros(2, 3).cuda(non_blocking=True),
        lambda: torch.zeros(2, 3).to("cuda"),
        lambda: torch.zeros(2, 3).to(device="cuda"),
        lambda: torch.zeros(2, 3).to("cuda", torch.float32, non_blocking=True),
        lambda: torch.zeros(2, 3).to(torch.zeros(1, device="cuda")),
        lambda: torch.zeros_like(torch.zeros(2, 3), device="cuda"),
        lambda: torch.randn(2, 3, device="cuda", generator=torch.Generator(device="cuda")),
        lambda: torch.tensor([[0.0] * 3] * 2, device="cuda"),
        lambda: torch.as_tensor([[0.0] * 3] * 2, device="cuda"),
        lambda: torch.zeros(4, device="cuda").new_zeros(2, 3),
        lambda: torch.zeros(4, device="cuda").new_tensor([[0.0] * 3] * 2),
        lambda: torch.empty_strided((2, 3), (3, 1), device="cuda"),
    ],
)
def test_tensors_are_made_on_it(make):
    tensor = make()
    assert tensor.device == torch.device("cuda", 0)
    assert tensor.is_cuda
    assert not tensor.is_cpu
    assert not tensor.is_meta
    assert tensor.get_device() == 0
    assert str(type(tensor)) == str(torch.Tensor)
    assert tensor.shape == (2, 3)
    assert tensor.dtype == torch.float32


def test_default_device_context():
    with torch.device("cuda"):
        layer = nn.Linear(3, 4)
        scale = torch.ones(2)
    assert layer.weight.device.type == scale.device.type == "cuda"
    assert torch.ones(2).device.type == "cpu"


def test_cpu_and_meta_tensors_stay_what_they_are():
    on_cpu = torch.arange(6.0).reshape(2, 3)
    assert (on_cpu @ on_cpu.T).tolist() == [[5.0, 14.0], [14.0, 50.0]]
    assert torch.zeros(2, device="meta").device.type == "meta"
    with torch.device("meta"):
        assert nn.Linear(2, 2).weight.device.type == "meta"
    assert (torch.zeros(2, device="meta") + 1).device.type == "meta"
    assert torch.zeros(2).to("meta").device.type == "meta"


def test_cuda_looks_present():
    assert torch.cuda.is_available()
    assert torch.cuda.device_count() == 1
    assert torch.cuda.get_device_capability() >= (8, 0)
    assert torch.cuda.is_bf16_supported()
    assert torch.accelerator.current_accelerator() == torch.device("cuda")
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.zeros(1, device="cuda")
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    end.record()
    assert start.elapsed_time(end) > 0


def test_memory_is_counted():
    before = torch.cuda.memory_allocated()
    block = torch.empty(1000, dtype=torch.float32, device="cuda")
    view = block.view(10, 100)
    assert torch.cuda.memory_allocated() - before == 4000
    del block
    assert torch.cuda.memory_allocated() - before == 4000
    del view
    assert torch.cuda.memory_allocated() == before
    assert torch.cuda.max_memory_allocated() >= before + 4000


def test_huge_tensors_take_no_memory():
    huge = torch.empty(2**40, device="cuda")
    assert (huge + 1).shape == (2**40,)


def test_shapes_and_dtypes_follow_torch_on_cpu():
    def compute(device):
        x = torch.ones(2, 6, 5, 5, device=device)
        conv = nn.Conv2d(6, 4, 3, stride=2).to(device)
        y = conv(x).flatten(1)
        z = torch.cat([y.half(), y.half()], 1).float()[:, ::2]
        w = torch.nn.functional.pad(z.softmax(-1), (1, 2)).T
        return [conv(x), y, z, w, (w > 0).sum(), w.mean(0), torch.einsum("ab,cb->ac", w, w), w.argmax(0)]

    for there, here in zip(compute("cuda"), compute("cpu"), strict=True):
        assert there.is_cuda
        assert (there.shape, there.dtype, there.stride()) == (here.shape, here.dtype, here.stride())


def test_integers_and_masks_keep_their_values():
    tokens = torch.tensor([[1, 2, 0], [3, 0, 0]], device="cuda")
    mask = tokens != 0
    assert mask.sum().item() == 3
    assert tokens.max().item() == 3
    assert not bool(mask.all())
    assert mask.nonzero().tolist() == [[0, 0], [0, 1], [1, 0]]
    assert tokens[mask].tolist() == [1, 2, 3]
    assert torch.arange(5, device="cuda").cumsum(0).cpu().tolist() == [0, 1, 3, 6, 10]
    tokens[0, 1] = 7
    assert tokens.tolist() == [[1, 7, 0], [3, 0, 0]]
    assert tokens.view(-1)[1].item() == 7


def test_overwriting_with_unknown_values_forgets():
    counts = torch.zeros(3, dtype=torch.int64, device="cuda")
    view = counts[:2]
    counts.copy_(torch.randn(3, device="cuda"))
    known = torch.tensor([5], device="cuda")
    assert view.tolist() == [0, 0]
    assert (view + known).sum().item() == 0  # a placeholder: not 10, which the old zeros would give
    assert known.item() == 5


def test_floats_read_back_are_placeholders():
    loss = torch.randn(4, device="cuda").sum()
    assert loss.item() == 1.0  # scripts divide by it and take its logarithm
    assert float(loss) == 1.0
    assert loss.cpu().tolist() == 1.0
    assert torch.randn(2, 2, device="cuda").cpu().tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert torch.randn(2, device="cuda").detach().cpu().numpy().shape == (2,)
    assert torch.tensor(2.5, device="cuda").item() == 2.5
    assert "phantom" in repr(loss)


def test_mixing_devices_is_refused_as_cuda_refuses_it():
    with pytest.raises(RuntimeError, match="same device"):
        torch.ones(3, device="cuda") + torch.ones(3)
    assert (torch.ones(3, device="cuda") * torch.tensor(2.0)).is_cuda


def test_moving_a_module_keeps_its_parameters():
    embedding, decoder = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
    decoder.weight = embedding.weight
    embedding.weight.tag = "tied"
    weight = embedding.weight
    optimizer = torch.optim.SGD([weight], lr=1.0)
    model = nn.ModuleDict({"embedding": embedding, "decoder": decoder}).to("cuda")
    assert model["embedding"].weight is model["decoder"].weight is weight
    assert isinstance(weight, nn.Parameter)
    assert weight.is_cuda
    assert weight.is_leaf
    assert weight.tag == "tied"
    assert optimizer.param_groups[0]["params"][0] is weight
    assert next(iter(nn.Sequential(nn.BatchNorm1d(3)).cuda().buffers())).is_cuda


def test_changing_dtype_and_layout_of_a_module():
    model = nn.Conv2d(3, 4, 3).cuda()
    weight = model.weight
    model.to(torch.bfloat16).to(memory_format=torch.channels_last)
    assert model.weight is weight
    assert weight.dtype == torch.bfloat16
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_a_module_comes_back_to_the_cpu():
    model = nn.Linear(2, 3).cuda()
    weight = model.weight
    assert model.cpu().weight is weight
    assert weight.device.type == "cpu"
    assert model(torch.ones(1, 2)).shape == (1, 3)


def test_a_trained_module_moves_with_its_gradients():
    model = nn.Linear(2, 3)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    weight = model.weight
    model.cuda()
    assert model.weight is weight
    assert weight.grad.is_cuda
    optimizer.zero_grad()
    model(torch.ones(1, 2, device="cuda")).sum().backward()
    assert weight.grad.shape == (3, 2)


def test_state_dict_and_copies():
    model = nn.Linear(2, 3).cuda()
    twin = copy.deepcopy(model)
    assert twin.weight is not model.weight
    assert isinstance(twin.weight, nn.Parameter)
    assert twin.weight.is_cuda
    twin.load_state_dict(model.state_dict())
    twin.load_state_dict(nn.Linear(2, 3).state_dict())
    assert twin.weight.is_cuda


def test_backward_fills_gradients():
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 2)).cuda()
    x = torch.randn(3, 4, requires_grad=True)
    model(x.to("cuda")).pow(2).mean().backward()
    for parameter in model.parameters():
        assert parameter.grad.is_cuda
        assert parameter.grad.shape == parameter.shape
    assert x.grad.device.type == "cpu"
    (grad,) = torch.autograd.grad(model(torch.randn(3, 4, device="cuda")).sum(), [model[0].weight])
    assert grad.is_cuda


def test_double_backward():
    x = torch.randn(4, 3, device="cuda", requires_grad=True)
    penalty = torch.autograd.grad(nn.functional.silu(x).pow(3).sum(), x, create_graph=True)[0].norm()
    penalty.backward()
    assert x.grad.shape == (4, 3)


def test_custom_autograd_function():
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad + torch.ones(grad.shape, device=grad.device)

    x = torch.randn(3, device="cuda", requires_grad=True)
    Double.apply(x).sum().backward()
    assert x.grad.is_cuda


def test_assigning_data_moves_a_parameter():
    layer = nn.Linear(2, 3)
    weight = layer.weight
    weight.data = weight.data.to("cuda")
    assert layer.weight is weight
    assert weight.is_cuda
    assert weight.requires_grad


@pytest.mark.parametrize("num_workers", [0, 1])
def test_data_loader_with_pinned_memory(num_workers):
    data = torch.utils.data.TensorDataset(torch.arange(8.0), torch.arange(8))
    loader = torch.utils.data.DataLoader(data, batch_size=4, pin_memory=True, num_workers=num_workers)
    batches = [(x.to("cuda", non_blocking=True), y) for x, y in loader]
    assert [(x.shape, x.is_cuda) for x, _ in batches] == [((4,), True)] * 2
    assert batches[1][1].tolist() == [4, 5, 6, 7]


def test_indexing_by_places_and_by_known_masks():
    rows = torch.randn(10, 4, 3, device="cuda", requires_grad=True)
    labels = torch.tensor([1, -100] * 5, device="cuda")
    assert rows[torch.randperm(10, device="cuda")[:4]].shape == (4, 4, 3)
    assert rows[torch.tensor([1, 2])].shape == (2, 4, 3)
    assert rows[labels != -100].shape == (5, 4, 3)
    assert rows[:, torch.tensor([[0, 1], [2, 3]], device="cuda")].shape == (10, 2, 2, 3)
    picked = rows[labels != -100, torch.arange(4, device="cuda")[:1]]
    assert picked.shape == (5, 3)
    picked.sum().backward()
    assert rows.grad.shape == rows.shape


def test_sparse_gradients_are_dense_and_it_is_told(record):
    embedding = nn.Embedding(10, 4, sparse=True).cuda()
    bag = nn.EmbeddingBag(10, 4, mode="sum", sparse=True).cuda()
    places = torch.tensor([[1, 2]], device="cuda")
    optimizer = torch.optim.SparseAdam([*embedding.parameters(), *bag.parameters()], lr=0.1)

    def step():
        optimizer.zero_grad()
        (embedding(places).sum() + bag(places).sum()).backward()
        optimizer.step()

    job = record(step)
    assert {op.name.split(".")[1] for op in job.graph.ops} >= {"embedding_dense_backward", "_embedding_bag"}
    assert any("dense" in note for note in job.notes)
    assert embedding.weight.grad.layout is torch.strided


def test_host_tensors_like_device_tensors(record):
    device_tensor = torch.randn(4, 3, device="cuda")
    assert torch.zeros_like(device_tensor, device="cpu").sum().item() == 0.0
    assert device_tensor.new_full((2,), 3.0, device="cpu").tolist() == [3.0, 3.0]
    job = record(lambda: device_tensor + torch.zeros_like(device_tensor, device="cpu").sum())
    assert [op.name for op in job.graph.ops] == ["aten.add.Tensor"]
