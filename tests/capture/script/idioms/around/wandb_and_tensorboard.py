# needs: wandb, tensorboard
"""Weights & Biases, switched off although the script asks for online mode, and TensorBoard, into the scratch folder."""

import torch
import wandb
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

device = "cuda" if torch.cuda.is_available() else "cpu"
model = nn.Linear(8, 8).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
run = wandb.init(project="mine", mode="online", config={"lr": 0.1})
writer = SummaryWriter("runs")
writer.add_graph(model, torch.randn(8, 8, device=device))
step = 0
for epoch in range(5):
    for x in DataLoader(torch.randn(64, 8), batch_size=8):
        optimizer.zero_grad()
        loss = model(x.to(device)).square().mean()
        loss.backward()
        optimizer.step()
        wandb.log({"loss": loss.item()})
        writer.add_scalar("loss", loss.item(), step)
        step += 1
run.finish()
