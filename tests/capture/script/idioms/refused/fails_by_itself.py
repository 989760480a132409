"""A script with a mistake in it: its own traceback is shown, and its exit code is ours."""

import torch

model = torch.nn.Linear(8, 4).to("cuda" if torch.cuda.is_available() else "cpu")
model(torch.zeros(2, 9).to(model.weight.device))
