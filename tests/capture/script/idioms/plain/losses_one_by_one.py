"""Two losses of one forward pass, each with a backward pass of its own (`retain_graph`)."""

import torch
from torch import nn

device = "cuda" if torch.cuda.is_available() else "cpu"
body = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8)).to(device)
optimizer = torch.optim.Adam(body.parameters())
for step in range(500):
    out = body(torch.randn(48, 16, device=device))
    optimizer.zero_grad()
    out[:, :4].square().mean().backward(retain_graph=True)
    out[:, 4:].abs().mean().backward()
    optimizer.step()
