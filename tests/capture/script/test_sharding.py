"""Models that a script would spread over devices, on the one there is."""

import pytest

from whichgpu.capture.script.launcher import ENVIRONMENT
from whichgpu.graph import job_from_document

LAUNCHED = """
import os
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel, MixedPrecision
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

rank = int(os.environ["LOCAL_RANK"])
assert dist.is_nccl_available()

class Net(nn.Sequential):
    pass

def net():
    return Net(nn.Linear(8, 16), nn.Sequential(nn.Linear(16, 16), nn.ReLU()), nn.Linear(16, 4))

{wrapped}
optimizer = torch.optim.AdamW(model.parameters())
for i in range(4):
    optimizer.zero_grad()
    model({batch}).sum().backward()
    optimizer.step()
"""
INIT = "dist.init_process_group('nccl')\n"
WRAPPED = {
    "DistributedDataParallel": INIT + "model = DistributedDataParallel(net().to(rank), device_ids=[rank])",
    "FullyShardedDataParallel": INIT
    + "model = FullyShardedDataParallel(net(), device_id=rank, mixed_precision=MixedPrecision(torch.bfloat16))",
    "fully_shard": INIT
    + """
with torch.device("meta"):
    model = net()
policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16)
fully_shard(model[1], mp_policy=policy)
fully_shard(model, mp_policy=policy)
model[1].set_modules_to_forward_prefetch([model[1]])
model.to_empty(device=torch.device("cuda", rank))
model.unshard()
assert isinstance(model, FSDPModule) and isinstance(model, Net)
""",
    "parallelize_module": """
mesh = init_device_mesh("cuda", (int(os.environ["WORLD_SIZE"]),))
model = parallelize_module(net().cuda(), mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})
""",
}


@pytest.mark.parametrize("name", WRAPPED)
def test_a_wrapped_model(script, phantom, name):
    # The first two bring the batch to the device themselves.
    brings = name in ("DistributedDataParallel", "FullyShardedDataParallel")
    batch = "torch.ones(2, 8)" if brings else 'torch.ones(2, 8, device="cuda")'
    call = script(LAUNCHED.format(wrapped=WRAPPED[name], batch=batch))
    outcome = phantom(call, world_size=4, variables=ENVIRONMENT)
    assert outcome.status == "done", outcome.traceback
    assert outcome.seen.wrappers == [name]
    ops = job_from_document(outcome.job).graph.ops
    formats = {op.outputs[0].dtype for op in ops if op.name.startswith(("aten.mm", "aten.addmm"))}
    assert formats == {"float32"} if name in ("DistributedDataParallel", "parallelize_module") else {"bfloat16"}
