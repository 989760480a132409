"""Weights in bfloat16 that meet float32 activations, which autocast alone brings together (QLoRA's last layer)."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

loader = DataLoader(TensorDataset(torch.randn(64, 16), torch.randint(0, 50, (64,))), batch_size=4)
body, norm = nn.Linear(16, 16).cuda(), nn.LayerNorm(16).cuda()
head = nn.Linear(16, 50).cuda().to(torch.bfloat16).requires_grad_(False)
optimizer = torch.optim.AdamW([*body.parameters(), *norm.parameters()])
for epoch in range(20):
    for x, y in loader:
        with torch.autocast("cuda", torch.bfloat16):
            loss = nn.functional.cross_entropy(head(norm(body(x.cuda()))), y.cuda())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
