"""device="cuda" written out everywhere, with no thought of a machine that has no GPU."""

import torch
from torch import nn

torch.manual_seed(0)
torch.cuda.manual_seed_all(0)
torch.cuda.set_device(0)
model = nn.Sequential(nn.Linear(64, 128, device="cuda"), nn.ReLU(), nn.Linear(128, 1)).to("cuda:0")
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for step in range(200):
    x = torch.randn(32, 64, device="cuda")
    y = torch.zeros(32, 1).cuda()
    weight = torch.tensor([1.0], device=torch.device("cuda", 0))
    loss = (weight * (model(x) - y) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    assert x.is_cuda == y.is_cuda
