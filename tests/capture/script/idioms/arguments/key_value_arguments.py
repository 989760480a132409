# arguments: config.py --batch_size=16 width=24
# file config.py: batch_size = 4
"""nanoGPT's way: a file of assignments that is executed, then key=value from sys.argv."""

import sys

import torch
from torch import nn
from torch.utils.data import DataLoader

batch_size, width = 8, 8
for argument in sys.argv[1:]:
    if "=" not in argument:
        with open(argument) as file:
            exec(file.read())
    else:
        key, value = argument.lstrip("-").split("=")
        globals()[key] = int(value)
assert (batch_size, width) == (16, 24)
device = "cuda" if torch.cuda.is_available() else "cpu"
model = nn.Linear(8, width).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(10):
    for x in DataLoader(torch.randn(64, 8), batch_size=batch_size):
        optimizer.zero_grad()
        model(x.to(device)).square().mean().backward()
        optimizer.step()
