# options: step_marker=__main__:train_episode
"""A step of one's own choice, with --step-marker __main__:train_episode."""

import torch
from torch import nn

device = "cuda" if torch.cuda.is_available() else "cpu"
model = nn.Linear(8, 8).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def train_episode():
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(16, 8, device=device)).square().mean().backward()
        optimizer.step()


for episode in range(100):
    train_episode()
