"""An embedding with sparse gradients and SparseAdam beside Adam for the rest."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

device = "cuda" if torch.cuda.is_available() else "cpu"
embedding = nn.EmbeddingBag(10_000, 32, mode="sum", sparse=True).to(device)
top = nn.Linear(32, 1).to(device)
sparse, dense = torch.optim.SparseAdam(embedding.parameters()), torch.optim.Adam(top.parameters())
loader = DataLoader(TensorDataset(torch.randint(10_000, (128, 10)), torch.rand(128, 1)), batch_size=16)
for epoch in range(3):
    for ids, y in loader:
        loss = nn.functional.binary_cross_entropy_with_logits(top(embedding(ids.to(device))), y.to(device))
        sparse.zero_grad()
        dense.zero_grad()
        loss.backward()
        sparse.step()
        dense.step()
