"""torch.set_default_tensor_type for the GPU, as NeRF's first code has it: torch.Tensor and torch.rand lie there"""

import torch
from torch import nn

torch.set_default_tensor_type("torch.cuda.FloatTensor")
model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)
for _ in range(200):
    rays = torch.rand(64, 5)
    far = torch.Tensor([1e10]).expand(rays[..., :1].shape)
    noise = torch.normal(0.0, 1.0, (64, 4), device="cuda")
    loss = ((model(torch.cat([rays, far], -1)) + noise) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
