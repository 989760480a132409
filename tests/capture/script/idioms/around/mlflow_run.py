# needs: mlflow
"""MLflow with a tracking server of its own address: nothing is sent."""

import mlflow
import torch
from torch import nn
from torch.utils.data import DataLoader

mlflow.set_tracking_uri("http://127.0.0.1:5999")
mlflow.set_experiment("mine")
device = "cuda" if torch.cuda.is_available() else "cpu"
model = nn.Linear(8, 8).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with mlflow.start_run(run_name="first") as run:
    print(f"run {run.info.run_id}")
    mlflow.log_params({"lr": 0.1})
    for epoch in range(5):
        for x in DataLoader(torch.randn(64, 8), batch_size=8):
            optimizer.zero_grad()
            loss = model(x.to(device)).square().mean()
            loss.backward()
            optimizer.step()
            mlflow.log_metric("loss", loss.item())
