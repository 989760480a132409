"""Scripts that train on the CPU whatever there is: a GPU is predicted all the same, as if they used one."""

import pytest

from whichgpu.capture.script.phantom_pass import PUT_THERE

from .conftest import START

ON_CPU = START.replace("cuda", "cpu")

SCRIPTS = {
    "an optimizer": ON_CPU
    + """
for x, y in loader:
    optimizer.zero_grad()
    loss_of(model(x), y).backward()
    optimizer.step()
""",
    "leaves": """
import torch
inputs, labels = torch.randn(50, 8), torch.randint(4, (50,))
w = torch.randn(8, 4)
b = torch.zeros(4, requires_grad=True)
w.requires_grad = True
for i in range(5):
    rows = torch.randint(50, (16,))
    loss = torch.nn.functional.cross_entropy(inputs[rows] @ w + b, labels[rows])
    w.grad = b.grad = None
    loss.backward()
    for p in (w, b):
        p.data -= 0.1 * p.grad
    print(loss.log10().item())
""",
    "a sparse graph": """
import torch
from torch import nn
class Propagate(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(8, 4))
        self.register_buffer("loops", torch.eye(50).to_sparse())
    def forward(self, x, adj):
        return self.loops @ torch.spmm(adj, x @ self.weight)
places = torch.stack([torch.arange(50), torch.arange(50).roll(3)])
adj = torch.sparse_coo_tensor(places, torch.rand(50), (50, 50))
model, x, labels = Propagate(), torch.rand(50, 8), torch.randint(4, (50,))
optimizer = torch.optim.Adam(model.parameters())
for i in range(5):
    optimizer.zero_grad()
    hidden = torch.sparse.mm(adj, model(x, adj))
    nn.functional.cross_entropy(hidden, labels).backward()
    optimizer.step()
""",
    "values read by the host": """
import numpy as np
import torch
from torch import nn
policy = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2), nn.Softmax(-1))
optimizer = torch.optim.Adam(policy.parameters())
history = torch.zeros(3, 4)
for episode in range(5):
    logs = []
    for t in range(3):
        chances = torch.distributions.Categorical(policy(torch.from_numpy(np.ones((1, 4), np.float32))))
        action = chances.sample()
        logs.append(chances.log_prob(action))
        history[t, 0] = chances.probs.max()
        assert action.item() in (0, 1) and chances.probs.detach().numpy().shape == (1, 2)
    returns = torch.tensor([1.0, 0.5, 0.25])
    loss = torch.stack([-l * r for l, r in zip(logs, returns)]).sum() + (torch.cat(logs) * returns).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
""",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_is_trained_goes_to_the_gpu_and_data_follow(script, job, name):
    found = job(script(SCRIPTS[name]))
    assert PUT_THERE in found.notes
    products = [op for op in found.graph.ops if op.name.startswith(("aten.mm", "aten.addmm"))]
    assert products and all(t.storage is not None for op in products for t in op.input_tensors())
    assert any(op.name == "memcpy.h2d" for op in found.graph.ops)


def test_a_script_that_uses_a_gpu_is_left_to_it(script, job):
    found = job(
        script(
            START
            + SCRIPTS["an optimizer"].removeprefix(ON_CPU).replace("(x)", "(x.cuda())").replace(", y)", ", y.cuda())")
        )
    )
    assert PUT_THERE not in found.notes
