"""Launchers: torchrun, accelerate and their modules, of whose processes one is run, the first."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from whichgpu.capture.script.call import ScriptCall

_MODULES = frozenset({"torch.distributed.run", "torch.distributed.launch", "accelerate.commands.launch"})
# Options of these launchers that stand alone.
_FLAGS = frozenset(
    {
        *("standalone", "no_python", "no-python", "run_path", "run-path", "use_env", "use-env", "multi_gpu", "cpu"),
        *("multi-gpu", "use_fsdp", "use-fsdp", "use_deepspeed", "use-deepspeed", "quiet", "debug", "tpu", "mps"),
        *("same_network", "no_local_rank", "h", "help"),
    }
)
_PROCESSES_PER_NODE = frozenset({"nproc_per_node", "num_processes"})
_NODES = frozenset({"nnodes"})

# What torchrun tells the one process there is.
ENVIRONMENT = {
    "RANK": "0",
    "LOCAL_RANK": "0",
    "WORLD_SIZE": "1",
    "LOCAL_WORLD_SIZE": "1",
    "GROUP_RANK": "0",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}


def without_launcher(call: ScriptCall) -> tuple[ScriptCall, int]:
    """Return the call one process would get, and how many processes were asked for.

    Where there is no launcher that is the call itself, and what WORLD_SIZE says.
    """
    rest = list(call.arguments)
    launcher = call.target if call.is_module else Path(call.target).name
    if launcher == "accelerate" and rest[:1] == ["launch"]:
        rest = rest[1:]
    elif launcher != "torchrun" and not (call.is_module and launcher in _MODULES):
        told = os.environ.get("WORLD_SIZE", "1")
        return call, int(told) if told.isdecimal() else 1
    per_node = nodes = 1
    is_module = False
    while rest and rest[0].startswith("-"):
        name, _, value = rest.pop(0).lstrip("-").partition("=")
        if name in ("m", "module"):
            is_module = True
            continue
        if name in _FLAGS:
            continue
        if not value and rest:
            value = rest.pop(0)
        folded = name.replace("-", "_")
        # "2:4" asks for 2 to 4 nodes.
        count = int(value.rpartition(":")[2]) if value.rpartition(":")[2].isdecimal() else 1
        if folded in _PROCESSES_PER_NODE:
            per_node = count
        elif folded in _NODES:
            nodes = count
    if not rest:
        return call, 1
    return replace(call, target=rest[0], arguments=tuple(rest[1:]), is_module=is_module), max(per_node * nodes, 1)
