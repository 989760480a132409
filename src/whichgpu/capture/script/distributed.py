"""torch.distributed where there is one process: groups of one, wrappers that hand everything on.

What a script would do with more processes is remembered: how many it was started for, and which wrappers it uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch.nn import parallel

from whichgpu.capture.patches import Patches
from whichgpu.capture.script.seen import Seen


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

    for owner in (dist, dist.distributed_c10d):
        patches.set(owner, "init_process_group", init_process_group)

    class DistributedDataParallel(_Wrapper):
        """Stands for the wrapper of this name."""

        def __init__(self, module: Any, *args: Any, **kwargs: Any) -> None:
            super().__init__(module)
            _note(seen, "DistributedDataParallel")

    patches.set(parallel, "DistributedDataParallel", DistributedDataParallel)
    patches.set(parallel.distributed, "DistributedDataParallel", DistributedDataParallel)
    import torch.distributed.fsdp as fsdp

    class FullyShardedDataParallel(_Wrapper):
        """Stands for the wrapper of this name."""

        def __init__(self, module: Any, *args: Any, device_id: Any = None, **kwargs: Any) -> None:
            super().__init__(module if device_id is None else module.to(_device(device_id)))
            _note(seen, "FullyShardedDataParallel")

        def clip_grad_norm_(self, max_norm: float, norm_type: float = 2.0) -> Any:
            """Clip the gradients of all parameters."""
            return torch.nn.utils.clip_grad_norm_(self.parameters(), max_norm, norm_type)

        @staticmethod
        def state_dict_type(*args: Any, **kwargs: Any) -> Any:
            """Change nothing: the weights are whole."""
            return nullcontext()

    patches.set(fsdp, "FullyShardedDataParallel", FullyShardedDataParallel)
    patches.set(fsdp.fully_sharded_data_parallel, "FullyShardedDataParallel", FullyShardedDataParallel)

    def fully_shard(module: Any, *args: Any, **kwargs: Any) -> Any:
        _note(seen, "fully_shard")
        return module

    if hasattr(fsdp, "fully_shard"):
        patches.set(fsdp, "fully_shard", fully_shard)


class _Wrapper(torch.nn.Module):  # type: ignore[misc]
    """A module that calls another one, which its attributes come from."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module."""
        return self.module(*args, **kwargs)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Synchronise nothing, as ever."""
        yield

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "module":
                raise
            return getattr(super().__getattr__("module"), name)


def _note(seen: Seen, name: str) -> None:
    if name not in seen.wrappers:
        seen.wrappers.append(name)


def _device(device_id: Any) -> Any:
    return torch.device("cuda", device_id) if isinstance(device_id, int) else device_id
