"""Batches copied ahead on a CUDA stream of their own, from pinned memory."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Prefetcher:
    def __init__(self, loader, device):
        self.loader, self.device = loader, device
        self.stream = torch.cuda.Stream(device=device)

    def __iter__(self):
        ahead = None
        for batch in self.loader:
            with torch.cuda.stream(self.stream):
                moved = [t.to(self.device, non_blocking=True) for t in batch]
            if ahead is not None:
                yield ahead
            torch.cuda.current_stream(self.device).wait_stream(self.stream)
            for t in moved:
                t.record_stream(torch.cuda.current_stream(self.device))
            ahead = moved
        if ahead is not None:
            yield ahead


device = torch.device("cuda:0")
data = TensorDataset(torch.randn(64, 8), torch.randint(4, (64,)))
loader = DataLoader(data, batch_size=8, pin_memory=True, num_workers=1)
model = nn.Linear(8, 4).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(3):
    for x, y in Prefetcher(loader, device):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
torch.cuda.synchronize()
