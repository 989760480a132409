"""An embedding tied to the output layer, large vocabulary, cross entropy over it, ignored labels."""

import torch
from torch import nn
from torch.utils.data import DataLoader

device = "cuda" if torch.cuda.is_available() else "cpu"
embed, head = nn.Embedding(1000, 32).to(device), nn.Linear(32, 1000, bias=False).to(device)
head.weight = embed.weight
optimizer = torch.optim.Adagrad({id(p): p for p in [*embed.parameters(), *head.parameters()]}.values())
for epoch in range(3):
    for tokens in DataLoader(torch.randint(1000, (64, 12)), batch_size=8):
        tokens = tokens.to(device)
        labels = tokens.masked_fill(tokens % 7 == 0, -100)
        loss = nn.functional.cross_entropy(head(embed(tokens)).flatten(0, 1), labels.flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
