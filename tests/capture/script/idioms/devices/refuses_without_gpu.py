"""A script that refuses to start where there is no GPU."""

import sys

import torch
from torch import nn

if not torch.cuda.is_available():
    sys.exit("This script needs a GPU.")
assert torch.cuda.device_count() >= 1
model = nn.Linear(64, 64).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(200):
    loss = model(torch.randn(16, 64).cuda()).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
