"""A torch.autograd.Function with a backward pass of its own."""

import torch
from torch import nn
from torch.utils.data import DataLoader


class StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, threshold):
        ctx.save_for_backward(x)
        ctx.threshold = threshold
        return (x > threshold).float()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (x.abs() < 1), None


device = "cuda" if torch.cuda.is_available() else "cpu"
loader = DataLoader(torch.randn(64, 8), batch_size=8)
encoder, decoder = nn.Linear(8, 16).to(device), nn.Linear(16, 8).to(device)
optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()])
for epoch in range(3):
    for x in loader:
        x = x.to(device)
        loss = (decoder(StraightThrough.apply(encoder(x), 0.0)) - x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
