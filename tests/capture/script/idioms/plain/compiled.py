"""torch.compile: of a model, of a function by decorator, and model.compile()."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

device = "cuda" if torch.cuda.is_available() else "cpu"
loader = DataLoader(TensorDataset(torch.randn(64, 8), torch.randint(4, (64,))), batch_size=16)
model = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4)).to(device)
head = nn.Linear(4, 4).to(device)
head.compile(mode="max-autotune")
model = torch.compile(model, mode="reduce-overhead", fullgraph=True)
optimizer = torch.optim.AdamW([*model.parameters(), *head.parameters()])


@torch.compile
def loss_of(logits, labels):
    return nn.functional.cross_entropy(logits, labels)


for epoch in range(3):
    for x, y in loader:
        loss = loss_of(head(model(x.to(device))), y.to(device))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
