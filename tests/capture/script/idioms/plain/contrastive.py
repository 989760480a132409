"""A contrastive loss (SimCLR): pairs of two views are picked by masks of floats that were made on the host."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset


class TwoViews(Dataset):
    def __len__(self):
        return 96

    def __getitem__(self, place):
        image = torch.rand(3, 16, 16)
        return [image + 0.1 * torch.randn_like(image) for _ in range(2)], 0


def pairs(features):
    labels = torch.cat([torch.arange(len(features) // 2) for _ in range(2)])
    labels = (labels.unsqueeze(0) == labels.unsqueeze(1)).float().to(device)
    features = F.normalize(features, dim=1)
    similar = features @ features.T
    mask = torch.eye(len(labels), dtype=torch.bool).to(device)
    labels = labels[~mask].view(len(labels), -1)
    similar = similar[~mask].view(len(similar), -1)
    positives = similar[labels.bool()].view(len(labels), -1)
    negatives = similar[~labels.bool()].view(len(labels), -1)
    return torch.cat([positives, negatives], dim=1) / 0.07


device = "cuda"
model = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 16)).cuda()
optimizer = torch.optim.Adam(model.parameters(), 3e-4, weight_decay=1e-4)
for epoch in range(5):
    for images, _ in DataLoader(TwoViews(), batch_size=16, shuffle=True, drop_last=True):
        logits = pairs(model(torch.cat(images).to(device)))
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
