"""Targets of two networks computed by `network.forward(...)`, which calls each of their layers from outside (TD3)."""

import torch
from torch import nn
from torch.nn import functional

device = "cuda" if torch.cuda.is_available() else "cpu"


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.third, self.last = (
            nn.Linear(*w) for w in ((16, 32), (32, 32), (32, 32), (32, 1))
        )

    def forward(self, x):
        for layer in (self.first, self.second, self.third):
            x = functional.relu(layer(x))
        return self.last(x)


critic, *targets = (Critic().to(device) for _ in range(3))
optimizer = torch.optim.Adam(critic.parameters())
for step in range(1000):
    states = torch.randn(64, 16).to(device)
    with torch.no_grad():
        wanted = torch.min(*(target.forward(states) for target in targets))
    loss = functional.mse_loss(critic.forward(states), wanted)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
