"""torch.accelerator, the device-neutral way of newer scripts."""

import torch
from torch import nn

device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
model = nn.Linear(64, 64).to(device)
optimizer = torch.optim.Adam(model.parameters())
for step in range(100):
    loss = model(torch.randn(32, 64).to(device)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
