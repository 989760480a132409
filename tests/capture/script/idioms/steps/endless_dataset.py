"""An IterableDataset with no length."""

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset


class Stream(IterableDataset):
    def __iter__(self):
        while True:
            yield torch.randn(8)


device = "cuda" if torch.cuda.is_available() else "cpu"
model = nn.Linear(8, 8).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step, x in enumerate(DataLoader(Stream(), batch_size=16)):
    optimizer.zero_grad()
    model(x.to(device)).square().mean().backward()
    optimizer.step()
    if step == 1000:
        break
