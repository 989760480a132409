"""timm's retry ladder on an RTX 3090: the largest batch that trained, and the next larger one that did not.

timm's benchmark begins at 512 images and goes down a fixed ladder until a step fits 24 GB. So each of its rows says two
things: its batch fits, and the rung above does not. Both are held against the prediction.

Source: huggingface/pytorch-image-models, benchmark.py and results/benchmark-train-amp-*-rtx3090.csv, torch 1.12.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from typing import Any, cast

from benchmarks.bert_large import CACHE
from whichgpu.graph import Job, job_from_document, job_to_document
from whichgpu.graph.affine import evaluate, merge
from whichgpu.references.timm_models import import_timm

_FIRST_BATCH = 512
_CAPTURE_BATCHES = (11, 13)


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
