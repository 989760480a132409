"""A critic trained five times as often as its generator: the whole cycle is one step."""

import torch
from torch import nn
from torch.utils.data import DataLoader

device = "cuda" if torch.cuda.is_available() else "cpu"
loader = DataLoader(torch.randn(100, 16), batch_size=5)
generator = nn.Linear(4, 16).to(device)
critic = nn.Linear(16, 1).to(device)
optimizer_g = torch.optim.RMSprop(generator.parameters(), lr=5e-5)
optimizer_c = torch.optim.RMSprop(critic.parameters(), lr=5e-5)
for epoch in range(10):
    for i, real in enumerate(loader):
        optimizer_c.zero_grad()
        fake = generator(torch.randn(len(real), 4, device=device)).detach()
        (critic(fake).mean() - critic(real.to(device)).mean()).backward()
        optimizer_c.step()
        for p in critic.parameters():
            p.data.clamp_(-0.01, 0.01)
        if i % 5 == 4:
            optimizer_g.zero_grad()
            (-critic(generator(torch.randn(len(real), 4, device=device))).mean()).backward()
            optimizer_g.step()
