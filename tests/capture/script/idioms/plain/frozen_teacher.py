"""Distillation: a frozen teacher in evaluation mode belongs to every step."""

import torch
from torch import nn
from torch.utils.data import DataLoader

device = "cuda" if torch.cuda.is_available() else "cpu"
teacher = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 4)).to(device).eval()
student = nn.Linear(8, 4).to(device)
optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
for epoch in range(5):
    for x in DataLoader(torch.randn(64, 8), batch_size=8):
        x = x.to(device)
        with torch.no_grad():
            wanted = teacher(x).softmax(-1)
        loss = nn.functional.kl_div(student(x).log_softmax(-1), wanted, reduction="batchmean")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
