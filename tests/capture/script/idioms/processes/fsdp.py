# launcher: torchrun --nnodes=2 --nproc-per-node 4
"""FullyShardedDataParallel (and fully_shard) under torchrun, two nodes of four."""

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp import MixedPrecision, ShardingStrategy, fully_shard
from torch.utils.data import DataLoader

dist.init_process_group("nccl")
policy = MixedPrecision(param_dtype=torch.bfloat16, reduce_dtype=torch.bfloat16)
model = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))
model = FSDP(model, device_id=torch.cuda.current_device(), mixed_precision=policy,
             sharding_strategy=ShardingStrategy.FULL_SHARD, use_orig_params=True)  # fmt: skip
head = nn.Linear(32, 32).cuda()
fully_shard(head)
optimizer = torch.optim.AdamW([*model.parameters(), *head.parameters()])
for epoch in range(3):
    for x in DataLoader(torch.randn(64, 32), batch_size=8):
        loss = head(model(x.cuda())).square().mean()
        loss.backward()
        model.clip_grad_norm_(1.0)
        optimizer.step()
        optimizer.zero_grad()
