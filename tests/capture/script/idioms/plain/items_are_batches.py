"""A dataset whose every item is a whole batch, read one by one (DLRM)."""

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Batches(Dataset):
    def __len__(self):
        return 20

    def __getitem__(self, index):
        return torch.randn(24, 13), torch.rand(24, 1)


device = "cuda" if torch.cuda.is_available() else "cpu"
net = nn.Sequential(nn.Linear(13, 64), nn.ReLU(), nn.Linear(64, 1)).to(device)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for epoch in range(30):
    for x, y in DataLoader(Batches(), batch_size=1, collate_fn=lambda items: items[0]):
        optimizer.zero_grad()
        nn.functional.mse_loss(net(x.to(device)), y.to(device)).backward()
        optimizer.step()
