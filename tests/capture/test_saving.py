"""Checkpoints: what is saved of the phantom GPU is small, and comes back where it is asked to."""

import copy
import io
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn

from whichgpu.errors import CaptureError

pytestmark = pytest.mark.usefixtures("phantom")


def saved(what):
    file = io.BytesIO()
    torch.save(what, file)
    file.seek(0)
    return file


@pytest.fixture
def trained():
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8)).cuda()
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(2, 4, device="cuda")).sum().backward()
    optimizer.step()
    return model, optimizer


def test_a_checkpoint_comes_back(trained):
    model, optimizer = trained
    labels = torch.tensor([3, 1, 2], device="cuda")
    file = saved({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "labels": labels})
    loaded = torch.load(file)
    assert loaded["epoch"] == 3
    assert loaded["labels"].is_cuda
    assert loaded["labels"].tolist() == [3, 1, 2]
    weight = loaded["model"]["0.weight"]
    assert (weight.is_cuda, weight.shape, weight.dtype) == (True, (8, 4), torch.float32)
    model.load_state_dict(loaded["model"])
    optimizer.load_state_dict(loaded["optimizer"])
    assert optimizer.state[model[0].weight]["exp_avg"].is_cuda


@pytest.mark.parametrize(
    ("map_location", "is_cuda"),
    [
        (None, True),
        ("cuda", True),
        ("cuda:0", True),
        (torch.device("cuda"), True),
        (0, True),
        (lambda storage, location: storage.cuda(0), True),
        ({"cuda:0": "cuda:0"}, True),
        ("cpu", False),
        (torch.device("cpu"), False),
        (lambda storage, location: storage, False),
        ({"cuda:0": "cpu"}, False),
    ],
)
def test_where_a_checkpoint_goes(trained, map_location, is_cuda):
    model, optimizer = trained
    file = saved({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    loaded = torch.load(file, map_location=map_location)
    assert loaded["model"]["0.weight"].is_cuda == is_cuda
    model.load_state_dict(loaded["model"])
    optimizer.load_state_dict(loaded["optimizer"])
    assert model[0].weight.is_cuda
    assert optimizer.state[model[0].weight]["exp_avg"].is_cuda


@pytest.mark.parametrize("map_location", ["cuda", 0, torch.device("cuda:0"), {"cpu": "cuda:0"}])
def test_a_checkpoint_of_the_cpu_goes_to_the_device(map_location):
    file = saved(nn.Linear(1000, 10, bias=False).state_dict())
    before = torch.cuda.memory_allocated()
    weight = torch.load(file, map_location=map_location)["weight"]
    assert weight.is_cuda
    assert torch.cuda.memory_allocated() - before == 40_000
    assert (weight * 2).shape == (10, 1000)


def test_a_checkpoint_of_the_cpu_keeps_its_values():
    layer = nn.Linear(3, 3)
    loaded = torch.load(saved(layer.state_dict()))
    assert torch.equal(loaded["weight"], layer.weight)
    assert torch.load(saved(layer.state_dict()), map_location="meta")["weight"].device.type == "meta"


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_whole_models_and_tied_weights(options):
    embedding, decoder = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
    decoder.weight = embedding.weight
    file = io.BytesIO()
    torch.save(nn.ModuleList([embedding, decoder]).cuda(), file, **options)
    file.seek(0)
    first, second = torch.load(file, weights_only=False)
    assert first.weight is second.weight
    assert isinstance(first.weight, nn.Parameter)
    assert first.weight.requires_grad


def test_views_share_their_storage():
    table = torch.randn(4, 6, device="cuda")
    whole, row, turned = torch.load(saved([table, table[1], table.T]))
    assert whole.data_ptr() == turned.data_ptr()
    assert row.storage_offset() == 6
    assert turned.stride() == (1, 6)
    assert len({t.untyped_storage()._cdata for t in (whole, row, turned)}) == 1


def test_a_huge_model_takes_a_small_file():
    file = saved(torch.empty(2**36, device="cuda", dtype=torch.bfloat16))
    assert len(file.getvalue()) < 10_000
    assert torch.load(file).shape == (2**36,)


def test_pickles_and_copies(trained):
    model, optimizer = trained
    assert pickle.loads(pickle.dumps(model.state_dict()))["0.weight"].is_cuda
    twin, other = copy.deepcopy((model, optimizer))
    assert other.param_groups[0]["params"][0] is twin[0].weight
    other.load_state_dict(optimizer.state_dict())
    best = {name: value.cpu() for name, value in model.state_dict().items()}
    model.load_state_dict(best)
    assert model[0].weight.is_cuda


def test_safetensors(trained, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    model, _ = trained
    safetensors.save_file(model.state_dict(), tmp_path / "model.safetensors")
    assert safetensors.load_file(tmp_path / "model.safetensors", device="cuda")["0.weight"].is_cuda


def test_a_checkpoint_of_the_phantom_is_refused_without_it(tmp_path):
    torch.save({"weight": torch.zeros(3, device="cuda")}, tmp_path / "model.pt")
    program = f"import torch; torch.load({str(tmp_path / 'model.pt')!r}, weights_only=False)['weight'] + 1"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode
    assert CaptureError.__name__ in done.stderr
