"""No torch optimizer: weights updated by hand after backward."""

import torch
from torch import nn
from torch.utils.data import DataLoader

device = "cuda" if torch.cuda.is_available() else "cpu"
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8)).to(device)
for epoch in range(3):
    for x in DataLoader(torch.randn(64, 8), batch_size=8):
        loss = (model(x.to(device)) - x.to(device)).square().mean()
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.01 * p.grad
