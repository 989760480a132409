"""Two phases: the head alone for an epoch, then everything with a new optimizer."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

device = "cuda" if torch.cuda.is_available() else "cpu"
loader = DataLoader(TensorDataset(torch.randn(64, 8), torch.randint(4, (64,))), batch_size=8)
body, head = nn.Linear(8, 32).to(device), nn.Linear(32, 4).to(device)


def train(optimizer, epochs):
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(head(body(x.to(device)).relu()), y.to(device)).backward()
            optimizer.step()


body.requires_grad_(False)
train(torch.optim.SGD(head.parameters(), lr=0.1), 1)
body.requires_grad_(True)
train(torch.optim.AdamW([*body.parameters(), *head.parameters()], lr=1e-4), 5)
