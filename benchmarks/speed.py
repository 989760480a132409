"""How fast and how small whichgpu is: ``make bench`` prints each figure beside its bar.

Every figure is taken in a process of its own, the median of several runs; captures run once, after the import of torch
and transformers, which is printed apart.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

from benchmarks.figures import ROOT, Figure, median_s, python, shell
from benchmarks.script_speed import script_figures
from benchmarks.sections import replace_section

GIB = 1024**3
MB = 1e6


IMPORT = """
import json, time
start = time.perf_counter()
import whichgpu
print(json.dumps({"s": time.perf_counter() - start}))
"""

PRICE = """
import json, statistics, time
from whichgpu import devices, workload
from whichgpu.estimate import estimate_all
job = workload("resnet50")
chosen = list(devices())
times = []
for _ in range(7):
    start = time.perf_counter()
    estimate_all(job, chosen[:150], allow_fallback=True)
    times.append(time.perf_counter() - start)
print(json.dumps({"s": statistics.median(times), "first_s": times[0], "devices": min(150, len(chosen))}))
"""

CAPTURE = """
import json, resource, time
start = time.perf_counter()
import torch, transformers
imported = time.perf_counter() - start
from benchmarks.speed import {function}
start = time.perf_counter()
job = {function}()
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({{"s": seconds, "import_s": imported, "rss_bytes": peak, "ops": len(job.graph.ops)}}))
"""


REPLAY = """
import json, time
from benchmarks.speed import capture_llama3_8b
from whichgpu.devices import find_device
from whichgpu.memory import GraphMemory
graph = capture_llama3_8b().graph
start = time.perf_counter()
found = GraphMemory(graph).on(find_device("A100 80GB SXM"))
print(json.dumps({"s": time.perf_counter() - start, "ops": len(graph.ops), "gib": found.device_bytes / 2**30}))
"""


def memory_figures() -> list[Figure]:
    """Return how long memory takes: a large step replayed, and the whole answer of `whichgpu fit`."""
    replay = python(REPLAY)
    detail = f"{replay['ops']:.0f} ops, three steps; needs {replay['gib']:.0f} GiB"
    answer = shell("fit", "resnet50", "--device", "RTX 3060", "--batch", "512")
    return [
        Figure("replay Llama-3-8B full fine-tuning, 8 x 2048", replay["s"], "s", 3.0, detail),
        Figure("whichgpu fit resnet50, confirmed by a capture", median_s(answer, runs=1), "s", 30.0),
    ]


def capture_resnet50():  # type: ignore[no-untyped-def]
    """Capture ResNet-50 at batch 256 with AMP."""
    from whichgpu.workloads.ship import capture_workload

    return capture_workload("resnet50", 256, "amp-fp16", "nchw")


def capture_gpt2():  # type: ignore[no-untyped-def]
    """Capture GPT-2 at 8 sequences of 1,024 tokens with AMP."""
    from whichgpu.workloads.ship import capture_workload

    return capture_workload("gpt2", 8, "amp-fp16", "")


def capture_llama3_8b():  # type: ignore[no-untyped-def]
    """Capture the full fine-tuning of Llama 3 8B, AdamW, 8 sequences of 2,048 tokens, bfloat16."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from whichgpu import capture, phantom_gpu

    with phantom_gpu():
        with torch.device("cuda"):
            config = LlamaConfig(
                vocab_size=128_256,
                hidden_size=4096,
                intermediate_size=14_336,
                num_hidden_layers=32,
                num_attention_heads=32,
                num_key_value_heads=8,
                use_cache=False,
            )
            model = LlamaForCausalLM(config).to(torch.bfloat16).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
        tokens = torch.randint(0, 128_256, (8, 2048)).to("cuda")

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            model(input_ids=tokens, labels=tokens).loss.backward()
            optimizer.step()

        return capture(step, name="llama3-8b-full", samples_per_step=8, precision="bf16")


def capture_figures() -> list[Figure]:
    """Return time and memory of the three captures the project promises."""
    figures = []
    for function, name, bar_s in (
        ("capture_resnet50", "capture ResNet-50, batch 256, AMP", 5.0),
        ("capture_gpt2", "capture GPT-2, 8 x 1024, AMP", 8.0),
        ("capture_llama3_8b", "capture Llama-3-8B full fine-tuning, 8 x 2048", 30.0),
    ):
        got = python(CAPTURE.format(function=function))
        detail = f"{got['ops']:.0f} ops; importing torch and transformers {got['import_s']:.1f} s"
        figures.append(Figure(name, got["s"], "s", bar_s, detail))
    figures.append(Figure("peak memory of that last process", got["rss_bytes"] / GIB, "GiB", 2.0))
    return figures


def wheel_bytes() -> int:
    """Return the size of the wheel that pip builds."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, str(ROOT)]
        subprocess.run(command, check=True, capture_output=True)
        return next(Path(folder).glob("*.whl")).stat().st_size


def main() -> None:
    """Print the figures as a Markdown table; with --write put it into docs/accuracy.md too."""
    imports = statistics.median(python(IMPORT)["s"] for _ in range(7))
    price = python(PRICE)
    figures = [
        Figure("import whichgpu", imports, "s", 0.15),
        Figure("whichgpu --help", median_s(shell("--help")), "s", 0.4),
        Figure(
            "whichgpu compare resnet50 --device all --no-measure",
            median_s(shell("compare", "resnet50", "--device", "all", "--no-measure")),
            "s",
            1.5,
        ),
        Figure(
            f"price ResNet-50 on {price['devices']:.0f} devices, in-process",
            price["s"],
            "s",
            0.3,
            f"first call {price['first_s']:.3f} s",
        ),
        *capture_figures(),
        *memory_figures(),
        *script_figures(),
        Figure("wheel", wheel_bytes() / MB, "MB", 5.0),
    ]
    lines = [
        f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {date.today().isoformat()}.",
        "",
        "| figure | measured | bar | |",
        "|---|---|---|---|",
    ]
    for f in figures:
        verdict = "ok" if f.value <= f.bar else f"missed by {f.value / f.bar - 1:.0%}"
        remark = f"{verdict}; {f.detail}" if f.detail else verdict
        lines.append(f"| {f.name} | {f.value:.3g} {f.unit} | {f.bar:g} {f.unit} | {remark} |")
    print("\n".join(lines))
    if "--write" in sys.argv[1:]:
        replace_section(ROOT / "docs" / "accuracy.md", "speed", "\n".join(lines))


def _processor() -> str:
    from whichgpu.devices import this_cpu

    return this_cpu().name.rpartition(",")[0] or this_cpu().name


if __name__ == "__main__":
    main()
