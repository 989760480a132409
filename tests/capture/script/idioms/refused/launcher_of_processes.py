"""A script that starts another one to train."""

import subprocess
import sys

TRAIN = """
import torch
w = torch.zeros(4, requires_grad=True)
optimizer = torch.optim.SGD([w], lr=0.1)
for _ in range(10):
    w.sum().backward()
    optimizer.step()
"""
subprocess.run([sys.executable, "-c", TRAIN], check=True)
