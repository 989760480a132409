"""timm's retry ladder on an RTX 3090: the largest batch that trained, and the next larger one that did not.

timm's benchmark begins at 512 images and goes down a fixed ladder until a step fits 24 GB. So each of its rows says two
things: its batch fits, and the rung above does not. Both are held against the prediction.

Run: ``python -m benchmarks.memory_timm`` (needs ../shared/measurements and timm; an hour the first time); with --write
it fills docs/memory.md, too.
Source: huggingface/pytorch-image-models, benchmark.py and results/benchmark-train-amp-nchw-pt112-cu113-rtx3090.csv.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from benchmarks.bert_large import CACHE
from benchmarks.sections import replace_section, table
from whichgpu.devices import find_device
from whichgpu.graph import Job, job_from_document, job_to_document
from whichgpu.graph.affine import evaluate, merge
from whichgpu.memory.replay import OutOfDeviceMemory, replay
from whichgpu.memory.scratch import Libraries, workspaces
from whichgpu.references.timm_models import import_timm
from whichgpu.units import GIB

_FIRST_BATCH = 512
_CAPTURE_BATCHES = (11, 13)
_MODELS = 110
# "GPU 0; 23.70 GiB total capacity; ... free; ... reserved in total by PyTorch": what CUDA reports of an RTX 3090, and
# the median of what ten public logs of torch 1.x leave for the context, 0.3 to 2.0 GiB: CUDA 11 loaded all kernels.
_REPORTED_BYTES = 23.70 * GIB
_CONTEXT_BYTES = 1.4 * GIB
_LIBRARIES = Libraries.of(find_device("RTX 3090"))
ROOT = Path(__file__).parents[1]
MEASUREMENTS = ROOT.parent / "shared" / "measurements" / "timm.csv.gz"
PAGE = ROOT / "docs" / "memory.md"


def ladder() -> list[int]:
    """Return timm's batches, largest first: 512, 384, 256, 192, ..., 1."""
    rungs = [_FIRST_BATCH]
    while rungs[-1] > 1:
        rungs.append(_below(rungs[-1]))
    return rungs


def _below(batch: int) -> int:
    power = int(2 ** (math.log(batch - 1) // math.log(2)))
    step = max(power // 2, 1)
    return power + ((batch - power - 1) // step) * step


def template(model: str, layout: str, image: tuple[int, int, int]) -> Any:
    """Return the document of a model's training step, affine in its batch; captured once.

    Raises:
        GraphError: If the step is not affine in its batch.
        Exception: Whatever timm says of a model that is no more or takes no such images.
    """
    file = CACHE / "timm-memory" / f"{model}.{layout}.{'x'.join(map(str, image))}.json.gz"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        (CACHE / ".gitignore").write_text("*\n")
        first, second = _CAPTURE_BATCHES
        documents = [job_to_document(_capture(model, layout, batch, image)) for batch in _CAPTURE_BATCHES]
        merged = merge(documents[0], first, documents[1], second)
        file.write_bytes(gzip.compress(json.dumps(merged).encode()))
    return json.loads(gzip.decompress(file.read_bytes()))


def job_at(document: Any, batch: int) -> Job:
    """Return the job of an affine document at `batch`."""
    return job_from_document(evaluate(document, batch))


def _capture(name: str, layout: str, batch: int, image: tuple[int, int, int]) -> Job:
    import torch

    from whichgpu.capture import capture, phantom_gpu

    timm = import_timm()
    timm.layers.set_fused_attn(False)
    packed = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    with phantom_gpu():
        model = timm.create_model(name).cuda().to(memory_format=packed).train()
        images = torch.randn(batch, *image, device="cuda").to(memory_format=packed)
        labels = torch.randint(0, 1000, (batch,)).cuda()
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)

        def step() -> None:
            # As torch 1.12 did where nobody said otherwise: gradients stay.
            optimizer.zero_grad(set_to_none=False)
            with torch.autocast("cuda", dtype=torch.float16):
                loss = torch.nn.functional.cross_entropy(model(images), labels)
                cast("Any", loss).backward()
            optimizer.step()

        return capture(
            step, name=f"timm:{name}", samples_per_step=batch, precision="amp-fp16", layout=layout, sample="image"
        )


def sample(models: list[str], count: int) -> list[str]:
    """Return `count` of `models`, the same ones every time and with no other order than chance."""
    return sorted(models, key=lambda name: zlib.crc32(name.encode()))[:count]


@dataclass(frozen=True)
class Rungs:
    """What is predicted of one model.

    Attributes:
        model: Its name.
        batch: The largest that trained.
        allocated_bytes: Predicted at that batch.
        fits: Whether it is predicted to fit.
        above: The next larger batch; None if there is none.
        above_fits: Whether that is predicted to fit.
        optimism: By how much at least too little is predicted there, as a share of what there is; 0 if it is not.
    """

    model: str
    batch: int
    allocated_bytes: int
    fits: bool
    above: int | None
    above_fits: bool
    optimism: float

    @property
    def statements(self) -> list[bool]:
        """Whether each of the row's one or two statements is predicted right."""
        return [self.fits, *([not self.above_fits] if self.above else [])]


def checked(model: str, row: dict[str, str]) -> Rungs:
    """Return the predictions of one row."""
    width = tuple(int(n) for n in row["input_shape"].split("x"))
    document = template(model, "nchw", (width[0], width[1], width[2]))
    batch = int(row["batch_per_gpu"])
    rungs = ladder()
    place = rungs.index(batch)
    above = rungs[place - 1] if place else None
    limit = int(_REPORTED_BYTES - _CONTEXT_BYTES)

    def fits(size: int) -> bool:
        graph = job_at(document, size).graph
        try:
            replay(graph, workspaces(graph, _LIBRARIES), limit_bytes=limit)
        except OutOfDeviceMemory:
            return False
        return True

    def allocated(size: int) -> int:
        graph = job_at(document, size).graph
        return replay(graph, workspaces(graph, _LIBRARIES)).allocated_bytes

    above_fits = above is not None and fits(above)
    optimism = max(1 - allocated(above) / limit, 0.0) if above is not None and above_fits else 0.0
    return Rungs(model, batch, allocated(batch), fits(batch), above, above_fits, optimism)


def section(found: list[Rungs]) -> str:
    """Return the section of docs/memory.md, as Markdown."""
    statements = [right for rungs in found for right in rungs.statements]
    exact = sum(all(r.statements) for r in found)
    pessimistic, optimistic = sum(not r.fits for r in found), sum(r.above_fits for r in found)
    lines = [
        [
            r.model,
            str(r.batch),
            f"{r.allocated_bytes / GIB:.1f}",
            "fits" if r.fits else "**does not**",
            str(r.above or ""),
            "" if r.above is None else "**fits**" if r.above_fits else "does not",
        ]
        for r in sorted(found, key=lambda r: (all(r.statements), r.model))
    ]
    worst = f"{max((r.optimism for r in found), default=0.0):.1%}".replace("%", " %")
    share = f"{sum(statements) / len(statements):.1%}".replace("%", " %")
    return (
        f"{len(found)} models drawn at random, {len(statements)} statements, {share} of them right; for {exact} models "
        f"the very rung. Too pessimistic: {pessimistic}. Too optimistic: {optimistic}, by {worst} at most.\n\n"
        + table(["model", "trained at", "allocated, GiB", "predicted", "not at", "predicted"], lines)
    )


def main() -> None:
    """Print the section; with --write put it into docs/memory.md."""
    if not MEASUREMENTS.exists():
        print(f"timm's ladder skipped: there is no {MEASUREMENTS}.")
        return
    with gzip.open(MEASUREMENTS, "rt") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if (row["task"], row["framework_version"], row["layout"]) == ("train", "1.12", "nchw")
        ]
    by_name = {row["model"].removeprefix("timm:"): row for row in rows}
    known = set(import_timm().list_models())
    found = []
    for model in sample([name for name in by_name if name in known], _MODELS):
        try:
            found.append(checked(model, by_name[model]))
        except Exception as error:  # a model that cannot be captured must not lose the others
            print(f"{model} left out: {type(error).__name__}: {error}", file=sys.stderr)
    text = section(found)
    print(text)
    if "--write" in sys.argv[1:]:
        replace_section(PAGE, "ladder", text)


if __name__ == "__main__":
    main()
