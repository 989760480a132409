"""A branch for Apple's GPUs before the one for CUDA."""

import torch
from torch import nn

if torch.backends.mps.is_available():
    device = torch.device("mps")
elif torch.cuda.is_available():
    device = torch.device("cuda")
else:
    device = torch.device("cpu")
model = nn.Linear(64, 64).to(device)
optimizer = torch.optim.Adam(model.parameters())
for step in range(100):
    loss = model(torch.randn(32, 64, device=device)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if device.type == "mps":
        torch.mps.empty_cache()
