"""nn.DataParallel around the model."""

import torch
from torch import nn
from torch.utils.data import DataLoader

model = nn.DataParallel(nn.Linear(16, 16)).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(3):
    for x in DataLoader(torch.randn(64, 16), batch_size=8):
        optimizer.zero_grad()
        model(x.cuda()).square().mean().backward()
        optimizer.step()
    torch.save(model.module.state_dict(), "last.pt")
