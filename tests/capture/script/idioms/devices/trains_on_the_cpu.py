"""A script that trains on the CPU whatever there is."""

import torch
from torch import nn
from torch.utils.data import DataLoader

model = nn.Linear(8, 8)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(5):
    for x in DataLoader(torch.randn(64, 8), batch_size=8):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
