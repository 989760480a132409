"""A compiled model whose forward keeps the loss, read through what torch.compile gave back (llama2.c)."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(16, 16)
        self.last_loss = None

    def forward(self, x, target):
        self.last_loss = nn.functional.mse_loss(self.net(x), target)
        return self.last_loss


device = "cuda" if torch.cuda.is_available() else "cpu"
model = torch.compile(Model().to(device))
optimizer = torch.optim.AdamW(model.parameters())
for step in range(300):
    x = torch.randn(8, 16).to(device)
    model(x, x)
    model.last_loss.backward()
    nn.utils.clip_grad_norm_(model._orig_mod.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
