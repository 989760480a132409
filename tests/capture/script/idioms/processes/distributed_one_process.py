"""torch.distributed with one process, started by hand, a DistributedSampler and collectives."""

import os

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

os.environ.setdefault("MASTER_ADDR", "localhost")
os.environ.setdefault("MASTER_PORT", "29511")
dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", rank=0, world_size=1)
device = torch.device("cuda", dist.get_rank()) if torch.cuda.is_available() else torch.device("cpu")
data = TensorDataset(torch.randn(64, 8), torch.randint(4, (64,)))
sampler = DistributedSampler(data)
loader = DataLoader(data, batch_size=8, sampler=sampler)
model = DistributedDataParallel(nn.Linear(8, 4).to(device), find_unused_parameters=True)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(3):
    sampler.set_epoch(epoch)
    for x, y in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x.to(device)), y.to(device))
        loss.backward()
        optimizer.step()
        dist.all_reduce(loss, op=dist.ReduceOp.AVG)
        gathered = [torch.zeros_like(loss) for _ in range(dist.get_world_size())]
        dist.all_gather(gathered, loss)
    dist.barrier()
dist.destroy_process_group()
