"""What torch.compile takes before its first step, measured on this machine: the part that no compiler of kernels has.

    python -m benchmarks.compile_times [MODEL ...]

Dynamo, AOTAutograd and Inductor's own passes are the same Python for every device, and are timed here as the first
call of a training step (forward and backward) less a second one, in seconds of one core. The kernels' compiler is
not: for CPUs it is g++, for GPUs Triton, so the kernels are left empty here. What Triton takes is timed apart, on two
kernels of the kinds Inductor writes, where it is installed: it needs no GPU to compile for one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from whichgpu.references.without_torchvision import names_of_torchvision

# Families of graphs, from ten operators to some thousand.
MODELS = (
    "mlp",
    "timm:resnet18",
    "timm:resnet50",
    "timm:mobilenetv3_large_100",
    "timm:convnext_tiny",
    "timm:vit_base_patch16_224",
    "timm:swin_tiny_patch4_window7_224",
    "timm:densenet121",
    "hf:gpt2",
    "hf:bert-base",
)


def build(name: str) -> tuple[Any, Any]:
    """Return a model and what turns it into a loss of one small batch."""
    import torch

    kind, _, which = name.partition(":")
    if kind == "timm":
        with names_of_torchvision():
            import timm

        model = timm.create_model(which).train()
        images = torch.randn(2, 3, 224, 224)
        return model, lambda m: m(images).float().mean()
    if kind == "hf":
        import transformers

        tokens = torch.zeros(1, 128, dtype=torch.int64)
        model = {
            "gpt2": lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config()),
            "bert-base": lambda: transformers.BertForMaskedLM(transformers.BertConfig()),
        }[which]().train()
        return model, lambda m: m(input_ids=tokens, labels=tokens).loss
    layers = torch.nn.Sequential(
        torch.nn.Linear(784, 512), torch.nn.ReLU(), torch.nn.Dropout(), torch.nn.Linear(512, 10)
    ).train()
    images = torch.randn(8, 784)
    return layers, lambda m: m(images).float().mean()


def counted(name: str) -> dict[str, int]:
    """Return the ops of the eager step and the kernels the fusion pass makes of it, as the product counts them."""
    from dataclasses import replace

    import torch

    from whichgpu import capture, phantom_gpu
    from whichgpu.work import count_graph

    with phantom_gpu(), torch.device("cuda"):
        model, loss_of = build(name)

        def step() -> None:
            loss_of(model).backward()

        graph = capture(step, name=name, samples_per_step=1).graph
    fused = count_graph(replace(graph, mode="fused"))
    return {"ops": len(graph.ops), "kernels": fused.compiled_launches, "regions": fused.compiled_calls}


def measured(name: str) -> dict[str, float]:
    """Return the seconds of one core that compiling takes, kernels left empty."""
    import torch
    from torch._inductor.async_compile import AsyncCompile

    AsyncCompile.cpp_pybinding = lambda self, *args, **kwargs: lambda *given: None
    torch.set_num_threads(1)
    started = time.process_time()
    first = torch.compile(lambda x: (x * 2).sum())
    first(torch.ones(1000, requires_grad=True)).backward()
    begin_s = time.process_time() - started
    model, loss_of = build(name)
    compiled = torch.compile(model)
    times = []
    for _ in range(3):
        start = time.process_time()
        loss_of(compiled).backward()
        times.append(time.process_time() - start)
    return {"begin_s": begin_s, "compile_s": times[0] - min(times[1:])}


def triton_times() -> Iterator[dict[str, Any]]:
    """Yield the seconds Triton takes for one configuration of a loop and of a reduction, by compute capability."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from benchmarks import triton_kernels

    types = {"x": "*fp16", "y": "*fp16", "w": "*fp32", "out": "*fp16", "n": "i32", "m": "i32"}
    for capability in (80, 89, 90):
        for name, kernel, block in (
            ("loop", triton_kernels.loop, 512),
            ("loop", triton_kernels.loop, 1024),
            ("reduction", triton_kernels.reduction, 1024),
            ("reduction", triton_kernels.reduction, 2048),
        ):
            source = ASTSource(fn=kernel, signature={**types, "BLOCK": "constexpr"}, constexprs={(6,): block})
            start = time.process_time()
            triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": 8})
            seconds = time.process_time() - start
            yield {"triton": triton.__version__, "capability": capability, "kernel": name, "block": block, "s": seconds}


def main() -> None:
    """Print one line of JSON a model, each measured in a process of its own; then Triton's times, where it is there."""
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measured(sys.argv[2])))
        return
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
    for name in sys.argv[1:] or MODELS:
        command = [sys.executable, "-m", "benchmarks.compile_times", "--one", name]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        print(json.dumps({"model": name, **counted(name), **json.loads(done.stdout.splitlines()[-1])}), flush=True)
    if importlib.util.find_spec("triton") is None:
        print("Triton is not installed: its part was not timed.", file=sys.stderr)
        return
    os.environ["TRITON_ALWAYS_COMPILE"] = "1"
    for row in triton_times():
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
