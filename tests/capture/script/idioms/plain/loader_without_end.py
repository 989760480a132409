"""A DataLoader with an `__iter__` of its own over workers that never end, whose batches go by name (ultralytics)."""

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Boxes(Dataset):
    def __len__(self):
        return 48

    def __getitem__(self, index):
        return {"boxes": torch.rand(1 + index % 4, 4), "img": torch.rand(3, 8, 8)}


def collate(items):
    return {
        name: torch.cat([item[name] for item in items])
        if name == "boxes"
        else torch.stack([item[name] for item in items])
        for name in ("boxes", "img")
    }


class Repeat:
    def __init__(self, sampler):
        self.sampler = sampler

    def __iter__(self):
        while True:
            yield from iter(self.sampler)


class InfiniteLoader(DataLoader):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        object.__setattr__(self, "batch_sampler", Repeat(self.batch_sampler))
        self.iterator = self._get_iterator()

    def __len__(self):
        return len(self.batch_sampler.sampler)

    def __iter__(self):
        for _ in range(len(self)):
            yield next(self.iterator)


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.SiLU(), nn.Flatten(), nn.Linear(512, 4))

    def forward(self, batch):
        return (self.net(batch["img"]).mean(0) - batch["boxes"]).square().mean()


device = "cuda" if torch.cuda.is_available() else "cpu"
loader = InfiniteLoader(Boxes(), batch_size=16, shuffle=True, collate_fn=collate)
model = Detector().to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(30):
    for batch in loader:
        loss = model({name: tensor.to(device) for name, tensor in batch.items()})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
