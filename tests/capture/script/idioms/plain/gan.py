"""Two optimizers in every step (a GAN with a gradient penalty)."""

import torch
from torch import nn
from torch.utils.data import DataLoader

device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
loader = DataLoader(torch.randn(96, 16), batch_size=12)
generator = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 16)).to(device)
critic = nn.Sequential(nn.Linear(16, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1)).to(device)
optimizer_g = torch.optim.Adam(generator.parameters(), lr=1e-4, betas=(0.0, 0.9))
optimizer_c = torch.optim.Adam(critic.parameters(), lr=1e-4, betas=(0.0, 0.9))
for epoch in range(5):
    for real in loader:
        real = real.to(device)
        fake = generator(torch.randn(len(real), 4, device=device))
        mix = torch.rand(len(real), 1, device=device)
        between = (mix * real + (1 - mix) * fake.detach()).requires_grad_()
        gradient = torch.autograd.grad(critic(between).sum(), between, create_graph=True)[0]
        penalty = 10 * (gradient.norm(2, dim=1) - 1).pow(2).mean()
        loss_c = critic(fake.detach()).mean() - critic(real).mean() + penalty
        optimizer_c.zero_grad()
        loss_c.backward()
        optimizer_c.step()
        loss_g = -critic(fake).mean()
        optimizer_g.zero_grad()
        loss_g.backward()
        optimizer_g.step()
