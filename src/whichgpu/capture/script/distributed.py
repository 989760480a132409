"""torch.distributed where there is one process: groups of one, wrappers that hand everything on.

What a script would do with more processes is remembered: how many it was started for, and which wrappers it uses.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch.distributed as dist
from torch.distributed import device_mesh
from torch.nn import parallel

from whichgpu.capture.patches import Patches
from whichgpu.capture.script import sharding
from whichgpu.capture.script.seen import Seen
from whichgpu.capture.script.wrapper import Wrapper


def install(patches: Patches, seen: Seen, *, backend: str) -> None:
    """Let groups of processes be groups of one.

    Args:
        patches: What is replaced, to be put back.
        seen: Takes the names of the wrappers.
        backend: What stands in for NCCL: "fake", which moves nothing, or "gloo".
    """
    if not dist.is_available():
        return
    plain = dist.init_process_group

    def init_process_group(wanted: Any = None, *args: Any, **kwargs: Any) -> None:
        if dist.is_initialized():
            return
        if backend == "fake":
            # Registers itself when it is imported.
            import torch.testing._internal.distributed.fake_pg  # noqa: F401
        plain(backend, store=dist.HashStore(), rank=0, world_size=1)

    for owner in (dist, dist.distributed_c10d, device_mesh):
        patches.set(owner, "init_process_group", init_process_group)
    for owner in (dist, dist.distributed_c10d):
        # Scripts ask before they choose it; what they choose is replaced all the same.
        patches.set(owner, "is_nccl_available", lambda: True)

    class DistributedDataParallel(Wrapper):
        """Stands for the wrapper of this name."""

        static_graph = find_unused_parameters = gradient_as_bucket_view = False
        require_backward_grad_sync = require_forward_param_sync = True

        def __init__(self, module: Any, device_ids: Any = None, *args: Any, **kwargs: Any) -> None:
            super().__init__(module, device_ids[0] if device_ids else None)
            # As views gradients lie in the buckets they travel in, else beside them.
            as_views = kwargs.get("gradient_as_bucket_view", False)
            seen.wrap("DistributedDataParallel" + " with gradients as views" * bool(as_views))

        def register_comm_hook(self, *args: Any, **kwargs: Any) -> None:
            """Do nothing: there is nobody to talk to."""

        def _get_ddp_logging_data(self) -> dict[str, Any]:
            return {}

        def join(self, *args: Any, **kwargs: Any) -> Any:
            """Wait for nobody."""
            return nullcontext()

    patches.set(parallel, "DistributedDataParallel", DistributedDataParallel)
    patches.set(parallel.distributed, "DistributedDataParallel", DistributedDataParallel)
    sharding.install(patches, seen)
