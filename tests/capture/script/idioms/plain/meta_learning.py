"""Meta-learning (MAML): inner steps by torch.autograd.grad and torch.func, one outer optimizer."""

import torch
from torch import nn
from torch.func import functional_call

device = "cuda" if torch.cuda.is_available() else "cpu"
model = nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 1)).to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for iteration in range(50):
    optimizer.zero_grad()
    for task in range(4):
        x = torch.rand(10, 1, device=device)
        y = torch.sin(x + task)
        weights = dict(model.named_parameters())
        for _ in range(3):
            inner = nn.functional.mse_loss(functional_call(model, weights, (x,)), y)
            gradients = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
            weights = {n: w - 0.01 * g for (n, w), g in zip(weights.items(), gradients)}
        (nn.functional.mse_loss(functional_call(model, weights, (x,)), y) / 4).backward()
    optimizer.step()
