"""The ops of one training step of each script in examples/, as many of each as a GPU would be asked for.

``python -m benchmarks.example_ops`` prints them, with --write puts them into the file the suite compares with.
"""

from __future__ import annotations

import importlib.metadata
import sys
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whichgpu.capture.script import ScriptCall, ScriptOptions, run_script
from whichgpu.graph import Job
from whichgpu.work.registry import rule_for

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
KEPT = ROOT / "tests" / "capture" / "script" / "example_ops.toml"
# Beside torch, what decides which ops a script calls.
_LIBRARIES = {"finetune_gpt2_hf": ("transformers", "accelerate"), "resnet_lightning": ("lightning",)}
_HEAD = """\
# One training step of each script in examples/, called without arguments: how many of each op a GPU would be asked for,
# by the kind of work. Written by `python -m benchmarks.example_ops --write`. All of it holds for the releases named
# under "with"; other releases may split an update or a copy otherwise, so there only a model's own layers must be the
# same: attention, convolution, matmul, pooling, rnn.
"""
# Kinds of ops that no release of a library takes apart: a model's own layers.
ALWAYS = ("attention", "convolution", "matmul", "pooling", "rnn")

Ops = dict[str, dict[str, int]]


def names() -> list[str]:
    """Return the names of the examples."""
    return sorted(path.stem for path in EXAMPLES.glob("*.py"))


def recorded(name: str) -> Job:
    """Return the step of an example as the phantom pass records it."""
    call = ScriptCall(f"{name}.py", folder=str(EXAMPLES))
    return run_script(call, ScriptOptions(phantom_only=True), None).job


def ops_of(job: Job) -> Ops:
    """Return how often a step calls each op, by the file in whichgpu/work that counts it."""
    found: dict[str, Counter[str]] = {}
    for op in job.graph.ops:
        rule = rule_for(op)
        kind = "unpriced" if rule is None else rule.__module__.rpartition(".")[2]
        found.setdefault(kind, Counter())[op.base_name] += op.repeat
    return {kind: dict(sorted(found[kind].items())) for kind in sorted(found)}


def releases(name: str) -> dict[str, str]:
    """Return the releases installed of what decides an example's ops, torch's without its build."""
    libraries = ("torch", *_LIBRARIES.get(name, ()))
    return {library: importlib.metadata.version(library).partition("+")[0] for library in libraries}


def kept() -> dict[str, dict[str, Any]]:
    """Return what the suite compares with: of each example "with", the releases, and its kinds of ops."""
    found: dict[str, dict[str, Any]] = tomllib.loads(KEPT.read_text(encoding="utf-8"))["example"]
    return found


def as_toml(name: str, ops: Mapping[str, Mapping[str, int]]) -> str:
    """Return an example's tables."""
    lines = [f"[example.{name}.with]", *(f'{library} = "{release}"' for library, release in releases(name).items())]
    for kind, counts in ops.items():
        lines += ["", f"[example.{name}.{kind}]", *(f'"{op}" = {count}' for op, count in counts.items())]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the ops of all examples; with --write keep them."""
    parts = [_HEAD]
    for name in names():
        parts.append(as_toml(name, ops_of(recorded(name))))
        print(parts[-1], flush=True)
    if "--write" in sys.argv[1:]:
        KEPT.write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
