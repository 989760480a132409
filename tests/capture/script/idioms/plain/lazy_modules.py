"""Lazy modules, which learn their shapes from the first batch, moved to the GPU before it."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
model = nn.Sequential(nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4)).to(device)
model(torch.zeros(2, 3, 16, 16, device=device))
optimizer = torch.optim.RAdam(model.parameters())
for epoch in range(3):
    for x, y in DataLoader(TensorDataset(torch.randn(64, 3, 16, 16), torch.randint(4, (64,))), batch_size=8):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x.to(device)), y.to(device)).backward()
        optimizer.step()
