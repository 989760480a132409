"""Predicted memory held against published figures whose configuration can be built again.

Run: ``python -m benchmarks.memory_rows`` (needs ../shared/measurements); with --write it fills docs/memory.md, too.
Each job is captured on the phantom GPU as its source describes it, with the defaults of its day, and kept in
benchmarks/.cache.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import memory_bert, memory_litgpt, memory_mmseg
from benchmarks.bert_large import CACHE
from benchmarks.sections import replace_section, table
from whichgpu.devices import find_device
from whichgpu.fit.update import in_eight_bits, update_of
from whichgpu.graph import Graph, Job, job_from_document, job_to_document
from whichgpu.memory import GraphMemory
from whichgpu.memory.capacity import usable_bytes
from whichgpu.memory.parallel import bucketed
from whichgpu.units import MIB

ROOT = Path(__file__).parents[1]
MEASUREMENTS = ROOT.parent / "shared" / "measurements" / "memory.csv.gz"
PAGE = ROOT / "docs" / "memory.md"


@dataclass(frozen=True)
class MemoryRow:
    """One published figure beside its prediction.

    Attributes:
        name: What was trained.
        figure: Which figure was published: "allocated", "reserved" or "nvidia-smi".
        published_bytes: It; None where the job ran out of memory.
        predicted_bytes: The same figure, predicted.
        limit_bytes: What the device has.
    """

    name: str
    figure: str
    published_bytes: float | None
    predicted_bytes: float
    limit_bytes: float

    @property
    def error(self) -> float:
        """Predicted over published, less one; where it ran out of memory, 0 if that was predicted."""
        if self.published_bytes is None:
            return 0.0 if self.predicted_bytes > self.limit_bytes else self.predicted_bytes / self.limit_bytes - 1
        return self.predicted_bytes / self.published_bytes - 1


def rows() -> Iterator[MemoryRow]:
    """Yield every published row whose configuration can be built again."""
    yield from _bert_rows()
    yield from _litgpt_rows()
    yield from _mmseg_rows()


def _bert_rows() -> Iterator[MemoryRow]:
    device = find_device("V100 SXM2 16GB")
    published = [r for r in _published() if r["source"] == "hf-docs"]
    for row in published:
        case = memory_bert.Case(
            int(float(row["batch_per_gpu"])),
            4 if "grad_accum=4" in row["notes"] else 1,
            "grad_ckpt=1" in row["notes"],
            row["precision"] == "amp-fp16",
            row["optimizer"],
        )
        job = kept(f"bert-{case.label}", partial(memory_bert.captured, case))
        graph = _eight_bits(job.graph) if case.optimizer.startswith("adam8bit") else job.graph
        found = GraphMemory(graph).on(device)
        # The source read 1,343 MiB before the model was loaded: a context with all kernels, as CUDA 11 had it.
        predicted = found.reserved_bytes + 1343 * MIB
        yield MemoryRow(f"BERT large, {case.words}", "nvidia-smi", _bytes(row), predicted, usable_bytes(device) or 0)


def _litgpt_rows() -> Iterator[MemoryRow]:
    device = find_device("A100 40GB SXM")
    for row in _published():
        quantized = re.search(r"quant=(?:bnb\.)?([\w-]+)", row["notes"])
        if row["source"] != "litgpt" or quantized is None or row["gpu_count"] != "1":
            continue
        quantization = "" if quantized[1] == "None" else quantized[1]
        model = row["model"].removeprefix("litgpt:")
        if not model.endswith("-lora") or model.removesuffix("-lora") not in memory_litgpt.MODELS:
            continue
        name, batch = model.removesuffix("-lora"), int(float(row["batch_per_gpu"]))
        if quantization not in ("", "nf4", "nf4-dq"):
            continue
        kept_as = "-".join(filter(None, ("litgpt", name, str(batch), quantization)))
        job = kept(kept_as, partial(memory_litgpt.captured, name, batch, quantization))
        found = GraphMemory(job.graph).on(device)
        published = _bytes(row)
        on = f" on {quantization}" if quantization else ""
        words = f"{name}, LoRA{on}, bf16, {batch} x {memory_litgpt.MODELS[name].longest}"
        figure = "allocated" if published else "nvidia-smi"
        predicted = found.allocated_bytes if published else found.device_bytes
        yield MemoryRow(f"lit-gpt {words}", figure, published, predicted, usable_bytes(device) or 0)


def _mmseg_rows() -> Iterator[MemoryRow]:
    device = find_device("V100 SXM2 32GB")
    for row in _published():
        if row["source"] != "mmsegmentation":
            continue
        model, shape = row["model"].removeprefix("mmseg:"), row["input_shape"]
        batch, half = int(float(row["batch_per_gpu"])), row["precision"] != "fp32"
        channels, height, width = map(int, shape.split("x"))
        make = partial(memory_mmseg.captured, model, batch, (channels, height, width), half)
        job = kept(f"mmseg-{model}-{batch}-{shape}", make)
        found = GraphMemory(bucketed(job.graph)).on(device)
        name = f"mmsegmentation {model}, {row['precision']}, {batch} x {height} x {width}"
        yield MemoryRow(name, "allocated", _bytes(row), found.allocated_bytes, usable_bytes(device) or 0)


def kept(name: str, capture: Callable[[], Job]) -> Job:
    """Return a captured job, from the cache if it was captured before."""
    file = CACHE / "memory" / f"{name.replace(' ', '_').replace('/', '_')}.json.gz"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        (CACHE / ".gitignore").write_text("*\n")
        file.write_bytes(gzip.compress(json.dumps(job_to_document(capture())).encode()))
    return job_from_document(json.loads(gzip.decompress(file.read_bytes())))


def _eight_bits(graph: Graph) -> Graph:
    update = update_of(graph)
    assert update is not None
    return in_eight_bits(graph, update)


def _published() -> list[dict[str, str]]:
    import csv

    with gzip.open(MEASUREMENTS, "rt") as file:
        return list(csv.DictReader(file))


def _bytes(row: dict[str, Any]) -> float | None:
    return float(row["peak_mem_mib"]) * MIB if row["peak_mem_mib"] else None


def section(found: list[MemoryRow]) -> str:
    """Return the section of docs/memory.md, as Markdown."""
    errors = [abs(r.error) for r in found]
    low = sorted(r.error for r in found)
    lines = [
        [
            r.name,
            r.figure,
            "out of memory" if r.published_bytes is None else f"{r.published_bytes / MIB:,.0f}",
            f"{r.predicted_bytes / MIB:,.0f}",
            f"{r.error:+.1%}".replace("%", " %"),
        ]
        for r in found
    ]
    head = (
        f"{len(found)} rows; median absolute error {median(errors):.1%}, largest {max(errors):.1%}; too optimistic by "
        f"more than 5 % in {sum(e < -0.05 for e in low)}, by more than 10 % in {sum(e < -0.1 for e in low)}."
    )
    head = re.sub(r"(?<=\d)%", " %", head)
    return f"{head}\n\n{table(['job', 'figure', 'published, MiB', 'predicted', 'error'], lines)}"


def main() -> None:
    """Print the table; with --write put it into docs/memory.md."""
    if not MEASUREMENTS.exists():
        print(f"memory rows skipped: there is no {MEASUREMENTS}.")
        return
    text = section(list(rows()))
    print(text)
    if "--write" in sys.argv[1:]:
        replace_section(PAGE, "rows", text)


if __name__ == "__main__":
    main()
