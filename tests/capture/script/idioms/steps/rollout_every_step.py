"""Reinforcement learning (actor and critic): one update after every rollout, so none stands alone."""

import torch
from torch import nn

device = "cuda" if torch.cuda.is_available() else "cpu"
net = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 3)).to(device)
optimizer = torch.optim.RMSprop(net.parameters(), lr=1e-3)
for iteration in range(200):
    states, actions = [torch.zeros(4)], []
    with torch.no_grad():
        for _ in range(64):
            logits = net(states[-1].to(device))[:2]
            actions.append(torch.distributions.Categorical(logits=logits).sample())
            states.append(states[-1] + 0.1 * torch.randn(4))
    batch, actions = torch.stack(states[:-1]).to(device), torch.stack(actions)
    out = net(batch)
    gain = torch.ones(64, device=device) - out[:, 2]
    chances = torch.distributions.Categorical(logits=out[:, :2])
    loss = -(chances.log_prob(actions) * gain.detach()).mean() + gain.pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
