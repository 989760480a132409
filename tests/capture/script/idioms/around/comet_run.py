# needs: comet_ml
"""Comet: nothing is sent."""

import comet_ml
import torch
from torch import nn
from torch.utils.data import DataLoader

experiment = comet_ml.Experiment(api_key="none", project_name="mine")
experiment.log_parameters({"lr": 0.1})
device = "cuda" if torch.cuda.is_available() else "cpu"
model = nn.Linear(8, 8).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with experiment.train():
    for epoch in range(5):
        for x in DataLoader(torch.randn(64, 8), batch_size=8):
            optimizer.zero_grad()
            loss = model(x.to(device)).square().mean()
            loss.backward()
            optimizer.step()
            experiment.log_metric("loss", loss.item())
experiment.end()
