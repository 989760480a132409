"""Activation checkpointing: the forward pass of each block runs again in the backward pass."""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential
from torch.utils.data import DataLoader

device = "cuda" if torch.cuda.is_available() else "cpu"
loader = DataLoader(torch.randn(64, 32), batch_size=8)
blocks = nn.ModuleList(
    nn.Sequential(nn.Linear(32, 64), nn.Dropout(0.1), nn.GELU(), nn.Linear(64, 32)) for _ in range(3)
)
tail = nn.Sequential(*(nn.Linear(32, 32) for _ in range(4)))
blocks.to(device), tail.to(device)
optimizer = torch.optim.AdamW([*blocks.parameters(), *tail.parameters()])
for epoch in range(3):
    for x in loader:
        x = x.to(device)
        for block in blocks:
            x = x + checkpoint(block, x, use_reentrant=False)
        loss = checkpoint_sequential(tail, 2, x, use_reentrant=False).pow(2).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
