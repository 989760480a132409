"""Layer-wise training: each layer with an optimizer and epochs of its own, one after the other (Forward-Forward)."""

import torch
from torch import nn
from torch.utils.data import DataLoader


class Layer(nn.Linear):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.optimizer = torch.optim.Adam(self.parameters(), lr=0.03)

    def forward(self, x):
        return torch.relu(nn.functional.linear(x / (x.norm(2, 1, keepdim=True) + 1e-4), self.weight, self.bias))

    def train_on(self, positive, negative):
        for _ in range(100):
            good, bad = self(positive).pow(2).mean(1), self(negative).pow(2).mean(1)
            loss = torch.log(1 + torch.exp(torch.cat([2 - good, bad - 2]))).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return self(positive).detach(), self(negative).detach()


layers = [Layer(64, 128).cuda(), Layer(128, 32).cuda()]
positive = next(iter(DataLoader(torch.randn(500, 64), batch_size=500))).cuda()
negative = positive[torch.randperm(500)]
for layer in layers:
    positive, negative = layer.train_on(positive, negative)
