"""torch.cuda.amp, as scripts wrote mixed precision before torch 2.4, on a hard-coded .cuda()."""

import torch
from torch import nn
from torch.cuda.amp import GradScaler, autocast
from torch.utils.data import DataLoader, TensorDataset

loader = DataLoader(TensorDataset(torch.randn(64, 8), torch.randint(4, (64,))), batch_size=16)
model = nn.Linear(8, 4).cuda()
criterion = nn.CrossEntropyLoss().cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = GradScaler()
for epoch in range(30):
    for x, y in loader:
        optimizer.zero_grad()
        with autocast():
            loss = criterion(model(x.cuda(non_blocking=True)), y.cuda(non_blocking=True))
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
