"""Launchers: torchrun, accelerate and their modules, of whose processes one is run, the first."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from whichgpu.capture.script.call import ScriptCall
from whichgpu.errors import OptionError

_MODULES = frozenset({"torch.distributed.run", "torch.distributed.launch", "accelerate.commands.launch"})
# Options of these launchers that stand alone.
_FLAGS = frozenset(
    {
        *("standalone", "no_python", "no-python", "run_path", "run-path", "use_env", "use-env", "multi_gpu", "cpu"),
        *("multi-gpu", "use_fsdp", "use-fsdp", "use_deepspeed", "use-deepspeed", "quiet", "debug", "tpu", "mps"),
        *("same_network", "no_local_rank", "h", "help"),
    }
)
_PROCESSES_PER_NODE = ("nproc_per_node", "num_processes")
_NODES = ("nnodes",)
# As many processes as the machine has of these: here it is one.
_BY_MACHINE = ("auto", "gpu", "cpu", "xpu")

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


# What `accelerate launch` tells a script in variables, by its option and by the key of its configuration.
_ACCELERATE = {
    "mixed_precision": "ACCELERATE_MIXED_PRECISION",
    "gradient_accumulation_steps": "ACCELERATE_GRADIENT_ACCUMULATION_STEPS",
    "dynamo_backend": "ACCELERATE_DYNAMO_BACKEND",
}


@dataclass(frozen=True, slots=True)
class Launch:
    """What a launcher would do.

    Attributes:
        call: The call one process would get.
        processes: How many there would be.
        variables: What each would find in its environment; empty where there is no launcher.
    """

    call: ScriptCall
    processes: int
    variables: Mapping[str, str] = field(default_factory=dict)


def launch_of(call: ScriptCall) -> Launch:
    """Return what a call launches; where there is no launcher that is the call itself, and what WORLD_SIZE says."""
    rest = list(call.arguments)
    launcher = call.target if call.is_module else Path(call.target).name
    is_accelerate = launcher in ("accelerate", "accelerate.commands.launch")
    if launcher == "accelerate" and rest[:1] == ["launch"]:
        rest = rest[1:]
    elif launcher != "torchrun" and not (call.is_module and launcher in _MODULES):
        told = os.environ.get("WORLD_SIZE", "1")
        return Launch(call, int(told) if told.isdecimal() else 1)
    options, rest = _options(rest)
    if not rest:
        return Launch(call, 1)
    if is_accelerate:
        options = _configuration(options.get("config_file", ""), Path(call.folder)) | options
    processes = 1
    for name in (*_PROCESSES_PER_NODE, *_NODES):
        # "2:4" asks for 2 to 4 nodes.
        count = options.get(name, "").rpartition(":")[2]
        if count not in ("", *_BY_MACHINE) and not (count.isdecimal() and int(count)):
            option = f"--{name.replace('_', '-')}"
            raise OptionError(f"{option} {count}: expected a number above 0, or one of {', '.join(_BY_MACHINE)}.")
        processes *= int(count) if count.isdecimal() else 1
    variables = dict(ENVIRONMENT)
    for name, variable in _ACCELERATE.items() if is_accelerate else ():
        if options.get(name):
            variables[variable] = options[name]
    is_module = "m" in options or "module" in options
    inner = replace(call, target=rest[0], arguments=tuple(rest[1:]), is_module=is_module)
    return Launch(inner, max(processes, 1), variables)


def _options(rest: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return a launcher's options, and what it launches."""
    options: dict[str, str] = {}
    while rest and rest[0].startswith("-"):
        name, _, value = rest.pop(0).lstrip("-").partition("=")
        if name not in _FLAGS and name not in ("m", "module") and not value and rest:
            value = rest.pop(0)
        options[name.replace("-", "_")] = value
    return options, rest


def _configuration(name: str, folder: Path) -> dict[str, str]:
    """Return the options that stand in a configuration of accelerate's, its own if no other is named."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    path = folder / name if name else home / "accelerate" / "default_config.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    # Those that matter are plain words and numbers, one a line.
    return dict(re.findall(r"^(\w+): *['\"]?(\w+)['\"]? *$", text, re.MULTILINE))
