# needs: accelerate, comet_ml, mlflow, tensorboard, wandb
"""accelerate with log_with="all": every tracker that is installed."""

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader

accelerator = Accelerator(log_with="all", project_dir="runs")
accelerator.init_trackers("mine", config={"lr": 0.1})
model = nn.Linear(8, 8)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
model, optimizer, loader = accelerator.prepare(model, optimizer, DataLoader(torch.randn(64, 8), batch_size=8))
for epoch in range(5):
    for step, x in enumerate(loader):
        loss = model(x).square().mean()
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        accelerator.log({"loss": loss.item()}, step=step)
accelerator.end_training()
