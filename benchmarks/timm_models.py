"""Training steps of timm's models, captured as timm's benchmark runs them; each once, kept in benchmarks/.cache.

Needs timm, which needs torchvision: `pip install --no-deps timm torchvision` is enough, no operator of theirs is run.
"""

from __future__ import annotations

import gzip
import json
from typing import Any, cast

from benchmarks.bert_large import CACHE
from whichgpu.errors import MissingExtraError
from whichgpu.graph import Job, job_from_document, job_to_document


def timm_job(model: str, layout: str, batch: int, image: tuple[int, int, int]) -> Job:
    """Return one training step of a timm model: AMP, cross-entropy, SGD with momentum, no scaler, unfused attention.

    Args:
        model: timm's name for it.
        layout: "nchw" or "channels_last".
        batch: Images a step.
        image: Their shape, (channels, height, width).

    Raises:
        MissingExtraError: If timm or torchvision is not installed.
        Exception: Whatever timm says of a model it does not know, or that does not take such images.
    """
    folder = CACHE / "timm"
    file = folder / f"{model}.{layout}.{batch}.{'x'.join(map(str, image))}.json.gz"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (CACHE / ".gitignore").write_text("*\n")
        document = job_to_document(_capture(model, layout, batch, image))
        file.write_bytes(gzip.compress(json.dumps(document).encode()))
    return job_from_document(json.loads(gzip.decompress(file.read_bytes())))


def timm_names() -> set[str]:
    """Return the names timm has models for.

    Raises:
        MissingExtraError: If timm or torchvision is not installed.
    """
    return set(_timm().list_models())


def _timm() -> Any:
    import torch

    if not _OPERATORS:
        # torchvision's binary belongs to a CUDA build of torch and is not loaded; importing it asks for these two.
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _OPERATORS.append(library)
    try:
        import timm
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "jobs", "capture timm's models") from None
    return timm


# Operators live as long as the library that defined them.
_OPERATORS: list[Any] = []


def _capture(name: str, layout: str, batch: int, image: tuple[int, int, int]) -> Job:
    import torch

    from whichgpu.capture import capture, phantom_gpu

    timm = _timm()
    # The published figures are of torch 1.12, which had no fused attention.
    timm.layers.set_fused_attn(False)
    packed = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    with phantom_gpu():
        model = timm.create_model(name).cuda().to(memory_format=packed).train()
        images = torch.randn(batch, *image, device="cuda").to(memory_format=packed)
        labels = torch.randint(0, 1000, (batch,)).cuda()
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)

        def step() -> None:
            optimizer.zero_grad()
            with torch.autocast("cuda", dtype=torch.float16):
                loss = torch.nn.functional.cross_entropy(model(images), labels)
                cast("Any", loss).backward()
            optimizer.step()

        return capture(
            step, name=f"timm:{name}", samples_per_step=batch, precision="amp-fp16", layout=layout, sample="image"
        )
