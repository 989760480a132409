# needs: bitsandbytes
"""Weights in 8 bits that are not trained, with outliers apart (LLM.int8), under an adapter."""

import bitsandbytes as bnb
import torch
from torch import nn

base = bnb.nn.Linear8bitLt(64, 64, has_fp16_weights=False, threshold=6.0).cuda().requires_grad_(False)
down, up = nn.Linear(64, 4, bias=False).cuda(), nn.Linear(4, 64, bias=False).cuda()
optimizer = bnb.optim.AdamW8bit([*down.parameters(), *up.parameters()], lr=1e-3)
for step in range(500):
    x = torch.randn(32, 64, device="cuda")
    with torch.autocast("cuda", dtype=torch.float16):
        loss = (base(x) + up(down(x))).float().square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
