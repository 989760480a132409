"""A batch made of those of two loaders, each read anew where it ends (balanced sources, semi-supervised learning)."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

device = "cuda" if torch.cuda.is_available() else "cpu"
loaders = [
    DataLoader(TensorDataset(torch.randn(count, 16), torch.randint(0, 4, (count,))), batch_size=8, shuffle=True)
    for count in (40, 64)
]
batches = [iter(loader) for loader in loaders]
model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)).to(device)
optimizer = torch.optim.Adadelta(model.parameters())
for step in range(300):
    parts = []
    for i, loader in enumerate(loaders):
        try:
            parts.append(next(batches[i]))
        except StopIteration:
            batches[i] = iter(loader)
            parts.append(next(batches[i]))
    x, y = (torch.cat(tensors).to(device) for tensors in zip(*parts, strict=True))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
