"""torch.set_default_device("cuda"), and `with torch.device(...)` around the model."""

import torch
from torch import nn

if torch.cuda.is_available():
    torch.set_default_device("cuda")
with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
    model = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
optimizer = torch.optim.Adam(model.parameters())
target = torch.zeros(8, 10, 32)
for step in range(100):
    loss = nn.functional.mse_loss(model(torch.randn(8, 10, 32)), target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
