"""Reinforcement learning (PPO): rollouts without gradients between rounds of updates."""

import torch
from torch import nn

device = "cuda" if torch.cuda.is_available() else "cpu"
policy = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 2)).to(device)
value = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 1)).to(device)
optimizer = torch.optim.Adam([*policy.parameters(), *value.parameters()], lr=3e-4)


class Pole:
    def reset(self):
        self.state = torch.zeros(4)
        return self.state

    def step(self, action):
        self.state = self.state + 0.01 * torch.randn(4) + 0.001 * (2 * action - 1)
        return self.state, 1.0, bool(self.state.abs().max() > 0.2)


env = Pole()
for iteration in range(100):
    states, actions, log_probs, rewards = [], [], [], []
    state = env.reset()
    for _ in range(128):
        with torch.no_grad():
            chances = torch.distributions.Categorical(logits=policy(state.to(device)))
            action = chances.sample()
        states.append(state)
        actions.append(action)
        log_probs.append(chances.log_prob(action))
        state, reward, done = env.step(action.item())
        rewards.append(reward)
        if done:
            state = env.reset()
    states, actions = torch.stack(states).to(device), torch.stack(actions)
    old, returns = torch.stack(log_probs), torch.tensor(rewards).flip(0).cumsum(0).flip(0).to(device)
    for epoch in range(4):
        for rows in torch.randperm(128).split(32):
            rows = rows.to(device)
            chances = torch.distributions.Categorical(logits=policy(states[rows]))
            ratio = (chances.log_prob(actions[rows]) - old[rows]).exp()
            gain = returns[rows] - value(states[rows]).squeeze(-1)
            surrogate = torch.min(ratio * gain.detach(), ratio.clamp(0.8, 1.2) * gain.detach())
            loss = -surrogate.mean() + 0.5 * gain.pow(2).mean() - 0.01 * chances.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(policy.parameters(), 0.5)
            optimizer.step()
