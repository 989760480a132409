"""A policy asked for every action with gradients on, and for thousands of them before anything is trained."""

import torch
from torch import nn

device = "cuda" if torch.cuda.is_available() else "cpu"
policy = nn.Sequential(nn.Linear(17, 64), nn.ReLU(), nn.Linear(64, 6)).to(device)
optimizer = torch.optim.Adam(policy.parameters())


def act(state):
    return policy(torch.as_tensor(state, device=device)).cpu().data.numpy()


for _ in range(3000):
    act([[0.5] * 17])
for step in range(1000):
    act([[0.5] * 17])
    states = torch.randn(64, 17).to(device)
    loss = policy(states).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
