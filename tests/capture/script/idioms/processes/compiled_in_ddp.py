# launcher: torchrun --standalone --nproc_per_node=8
"""A model compiled after the process group was made, then wrapped in DistributedDataParallel (nanoGPT)."""

import os

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

dist.init_process_group(backend="nccl")
local = int(os.environ["LOCAL_RANK"])
torch.cuda.set_device(local)
device = f"cuda:{local}"
model = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 4)).to(device)
optimizer = torch.optim.AdamW(model.parameters())
model = torch.compile(model)
model = DistributedDataParallel(model, device_ids=[local])
loader = DataLoader(TensorDataset(torch.randn(64, 8), torch.randint(4, (64,))), batch_size=8)
for epoch in range(20):
    for x, y in loader:
        loss = nn.functional.cross_entropy(model(x.to(device)), y.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
