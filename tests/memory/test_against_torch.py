"""What is counted, held against torch's own MemTracker on the phantom GPU, and against the arithmetic of optimizers."""

import gc

import pytest
import torch
from torch.distributed._tools.mem_tracker import MemTracker

from tests.fit.models import Model
from whichgpu import capture, phantom_gpu
from whichgpu.memory.holders import timeline
from whichgpu.memory.scratch import NO_WORKSPACES


def block(nbytes):
    return -(-nbytes // 512) * 512


class Convolutional(torch.nn.Module):
    def __init__(self):
        super().__init__()
        layers = [torch.nn.Conv2d(3, 64, 7, 2, 3), torch.nn.BatchNorm2d(64), torch.nn.ReLU(inplace=True)]
        for _ in range(3):
            layers += [torch.nn.Conv2d(64, 64, 3, padding=1), torch.nn.BatchNorm2d(64), torch.nn.ReLU()]
        self.layers = torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
        self.head = torch.nn.Linear(64, 1000)

    def forward(self, images):
        return self.head(self.layers(images))


def transformer(make, autocast=None):
    """Return model, optimizer, step and the bytes of its input."""
    model = Model().cuda()
    tokens = torch.randint(0, 1000, (16, 128)).cuda()
    return _parts(model, make, tokens, lambda out: out.view(-1, 1000), tokens.view(-1), autocast)


def convolutional(make, autocast=None):
    model = Convolutional().cuda()
    images, labels = torch.randn(16, 3, 96, 96, device="cuda"), torch.randint(0, 1000, (16,)).cuda()
    return _parts(model, make, images, lambda out: out, labels, autocast)


def _parts(model, make, data, flat, labels, autocast):
    optimizer = make(model.parameters())

    def step():
        optimizer.zero_grad()
        with torch.autocast("cuda", autocast or torch.float16, enabled=autocast is not None):
            loss = torch.nn.functional.cross_entropy(flat(model(data)), labels)
        loss.backward()
        optimizer.step()

    # MemTracker knows the model and the optimizer, and what is made under it; not what was there before.
    outside = {t.untyped_storage()._cdata: block(t.untyped_storage().nbytes()) for t in (data, labels)}
    return model, optimizer, step, sum(outside.values())


def adamw(parameters):
    return torch.optim.AdamW(parameters)


def momentum(parameters):
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


@pytest.mark.parametrize("make", [adamw, momentum])
@pytest.mark.parametrize("autocast", [None, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("net", [transformer, convolutional])
def test_the_peak_of_a_steady_step_is_that_of_mem_tracker(net, autocast, make):
    with phantom_gpu():
        model, optimizer, step, outside = net(make, autocast)
        step()
        gc.collect()
        tracker = MemTracker()
        tracker.track_external(model, optimizer)
        with tracker:
            step()
        theirs = next(kinds for device, kinds in tracker.get_tracker_snapshot("peak").items() if device.type == "cuda")
    with phantom_gpu():
        graph = capture(net(make, autocast)[2], name="net", samples_per_step=16).graph
    line = timeline(graph, NO_WORKSPACES)
    ours = max(line.total(index) for index in range(line.ops))
    assert ours - outside == pytest.approx(theirs["Total"], rel=0.001)


# Bytes of state a weight of (rows, columns), by what the optimizers of torch keep; a bias is (n,).
def _adafactor(shape):
    if len(shape) < 2:
        return [4 * shape[0]]
    rows, columns = shape
    return [4 * rows, 4 * columns]


def _of_size(count):
    return lambda shape: [4 * torch.Size(shape).numel()] * count


OPTIMIZERS = {
    "adamw": (adamw, _of_size(2)),
    "adam, amsgrad": (lambda p: torch.optim.Adam(p, amsgrad=True), _of_size(3)),
    "adam, fused": (lambda p: torch.optim.Adam(p, fused=True), lambda s: [*_of_size(2)(s), 4]),
    "sgd": (lambda p: torch.optim.SGD(p, lr=0.1), _of_size(0)),
    "sgd, momentum": (momentum, _of_size(1)),
    "rmsprop": (torch.optim.RMSprop, _of_size(1)),
    "adagrad": (torch.optim.Adagrad, _of_size(1)),
    "adafactor": (torch.optim.Adafactor, _adafactor),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weights_gradients_and_state_are_exact(name):
    make, state_of = OPTIMIZERS[name]
    with phantom_gpu():
        model, _, step, _ = transformer(make)
        shapes = [tuple(p.shape) for p in model.parameters()]
        graph = capture(step, name=name, samples_per_step=16).graph
    weights = sum(block(4 * torch.Size(s).numel()) for s in shapes)
    found = {
        kind: sum(block(s.nbytes) for s in graph.storages if s.kind == kind and s.freed_at is None)
        for kind in ("parameter", "gradient", "optimizer_state")
    }
    assert found["parameter"] == found["gradient"] == weights
    assert found["optimizer_state"] == sum(block(n) for s in shapes for n in state_of(s))
