"""Models that are cut over many devices, on one: FSDP and tensor parallelism leave them whole."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed.fsdp as fsdp

from whichgpu.capture.patches import Patches
from whichgpu.capture.script.seen import Seen
from whichgpu.capture.script.wrapper import Wrapper, as_device

# Parameters of a sharded module in another format than the optimizer's: autocast does nearly that.
LOWER_FORMAT = "FSDP's mixed precision is taken for autocast, whose normalisation and losses stay in float32."


def install(patches: Patches, seen: Seen) -> None:
    """Let sharding leave modules as they are, but for the precision they compute in."""

    class FullyShardedDataParallel(Wrapper):
        """Stands for the wrapper of this name."""

        def __init__(
            self, module: Any, *args: Any, mixed_precision: Any = None, device_id: Any = None, **kwargs: Any
        ) -> None:
            device = as_device(device_id)
            super().__init__(module if device is None else module.to(device), device)
            self._precision = getattr(mixed_precision, "param_dtype", None)
            seen.wrap("FullyShardedDataParallel")

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            """Call the module."""
            with _autocast(seen, self._precision):
                return super().forward(*args, **kwargs)

        def clip_grad_norm_(self, max_norm: float, norm_type: float = 2.0) -> Any:
            """Clip the gradients of all parameters."""
            return torch.nn.utils.clip_grad_norm_(self.parameters(), max_norm, norm_type)

        @staticmethod
        def _nothing(*args: Any, **kwargs: Any) -> Any:
            return nullcontext()

        # The weights are whole as they are.
        state_dict_type = set_state_dict_type = summon_full_params = _nothing

        @staticmethod
        def optim_state_dict(model: Any, optim: Any, *args: Any, **kwargs: Any) -> Any:
            """Return the optimizer's state."""
            return optim.state_dict()

        full_optim_state_dict = optim_state_dict

    patches.set(fsdp, "FullyShardedDataParallel", FullyShardedDataParallel)
    patches.set(fsdp.fully_sharded_data_parallel, "FullyShardedDataParallel", FullyShardedDataParallel)
    if hasattr(fsdp, "fully_shard"):
        patches.set(fsdp, "fully_shard", _fully_shard(seen))
    import torch.distributed.tensor.parallel

    def leave_whole(module: Any, *args: Any, **kwargs: Any) -> Any:
        seen.wrap("parallelize_module")
        return module

    for name in ("torch.distributed.tensor.parallel", "torch.distributed.tensor.parallel.api"):
        patches.set(sys.modules[name], "parallelize_module", leave_whole)


def _fully_shard(seen: Seen) -> Callable[..., Any]:
    # What scripts ask of a module that is sharded.
    asked = {name: _return_itself for name in vars(fsdp.FSDPModule) if not name.startswith("_")}

    def fully_shard(module: Any, *args: Any, mp_policy: Any = None, **kwargs: Any) -> Any:
        seen.wrap("fully_shard")
        if not isinstance(module, torch.nn.Module):
            return [fully_shard(part, mp_policy=mp_policy) for part in module]
        kind = type(module)
        precision = getattr(mp_policy, "param_dtype", None)

        def forward(self: Any, *inputs: Any, **named: Any) -> Any:
            with _autocast(seen, precision):
                return kind.forward(self, *inputs, **named)

        members = {**asked, "_apply": torch.nn.Module._apply, "forward": forward}
        module.__class__ = type(f"FSDP{kind.__name__}", (fsdp.FSDPModule, kind), members)
        return module

    return fully_shard


def _return_itself(self: Any, *args: Any, **kwargs: Any) -> Any:
    return self


def _autocast(seen: Seen, precision: Any) -> AbstractContextManager[Any]:
    if precision is None or precision == torch.float32 or torch.is_autocast_enabled("cuda"):
        return nullcontext()
    seen.tell(LOWER_FORMAT)
    autocast: AbstractContextManager[Any] = torch.autocast("cuda", precision)
    return autocast
