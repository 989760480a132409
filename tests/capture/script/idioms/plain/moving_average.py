"""Moving averages of the weights: torch's AveragedModel, and one by hand on a deep copy."""

import copy

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, TensorDataset

device = "cuda" if torch.cuda.is_available() else "cpu"
loader = DataLoader(TensorDataset(torch.randn(64, 8), torch.randint(4, (64,))), batch_size=16)
model = nn.Linear(8, 4).to(device)
averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.999))
by_hand = copy.deepcopy(model).requires_grad_(False).eval()
optimizer = torch.optim.AdamW(model.parameters())
for epoch in range(3):
    for x, y in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x.to(device)), y.to(device)).backward()
        optimizer.step()
        averaged.update_parameters(model)
        with torch.no_grad():
            for ema, p in zip(by_hand.parameters(), model.parameters()):
                ema.lerp_(p, 0.001)
