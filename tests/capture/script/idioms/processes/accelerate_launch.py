# launcher: accelerate launch --multi_gpu --num_processes=4 --mixed_precision=bf16
# needs: accelerate
"""accelerate launch with four processes and its own choice of precision."""

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader

accelerator = Accelerator()
model, loader = nn.Linear(16, 16), DataLoader(torch.randn(64, 16), batch_size=8)
optimizer = torch.optim.AdamW(model.parameters())
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
for epoch in range(3):
    for x in loader:
        with accelerator.autocast():
            loss = model(x).float().square().mean()
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
