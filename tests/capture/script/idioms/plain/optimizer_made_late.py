"""A generator's optimizer that is made only when its turn comes, after five steps of the critic's (WGAN-GP)."""

import torch
from torch import nn
from torch.utils.data import DataLoader

device = "cuda" if torch.cuda.is_available() else "cpu"
loader = DataLoader(torch.randn(300, 16), batch_size=5)
generator = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 16)).to(device)
critic = nn.Linear(16, 1).to(device)
optimizers = {}


def optimizer_of(model):
    if model not in optimizers:
        optimizers[model] = torch.optim.Adam(model.parameters(), lr=1e-4, betas=(0.0, 0.9))
    return optimizers[model]


for epoch in range(10):
    for i, real in enumerate(loader):
        real = real.to(device)
        fake = generator(torch.randn(len(real), 4, device=device)).detach()
        mixed = (real + torch.rand(len(real), 1, device=device) * (fake - real)).requires_grad_()
        slope = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)[0]
        loss = critic(fake).mean() - critic(real).mean() + 10 * (slope.norm(2, dim=1) - 1).square().mean()
        optimizer_of(critic).zero_grad()
        loss.backward()
        optimizer_of(critic).step()
        if i % 5 == 4:
            optimizer_of(generator).zero_grad()
            (-critic(generator(torch.randn(len(real), 4, device=device))).mean()).backward()
            optimizer_of(generator).step()
