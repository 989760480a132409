"""No DataLoader: batches drawn from an array, so an epoch has no length."""

import numpy as np
import torch
from torch import nn

device = "cuda" if torch.cuda.is_available() else "cpu"
data = np.arange(10_000) % 50
model = nn.Sequential(nn.Embedding(50, 16), nn.Linear(16, 50)).to(device)
optimizer = torch.optim.AdamW(model.parameters())
for step in range(1000):
    start = np.random.randint(0, len(data) - 33, size=12)
    x = torch.stack([torch.from_numpy(data[i : i + 32]) for i in start]).to(device)
    y = torch.stack([torch.from_numpy(data[i + 1 : i + 33]) for i in start]).to(device)
    loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
