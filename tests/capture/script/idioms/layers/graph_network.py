"""A graph network by hand: gather along edges, index_add and scatter_reduce back to nodes."""

import torch
from torch import nn


class Layer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.message, self.update = nn.Linear(2 * width, width), nn.Linear(2 * width, width)

    def forward(self, x, edges):
        source, target = edges
        messages = self.message(torch.cat([x[source], x[target]], dim=-1)).relu()
        added = torch.zeros_like(x).index_add_(0, target, messages)
        index = target.unsqueeze(-1).expand_as(messages)
        largest = torch.zeros_like(x).scatter_reduce(0, index, messages, "amax", include_self=False)
        degree = torch.bincount(target, minlength=len(x)).clamp(min=1).unsqueeze(-1)
        return self.update(torch.cat([added / degree, largest], dim=-1))


device = "cuda" if torch.cuda.is_available() else "cpu"
x, labels = torch.randn(300, 16, device=device), torch.randint(4, (300,), device=device)
edges = torch.randint(300, (2, 2000), device=device)
train_mask = torch.rand(300) < 0.5
layers = nn.ModuleList([Layer(16), Layer(16)]).to(device)
optimizer = torch.optim.Adam(layers.parameters(), lr=0.01)
for epoch in range(50):
    h = x
    for layer in layers:
        h = layer(h, edges)
    loss = nn.functional.cross_entropy(h[train_mask], labels[train_mask])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
