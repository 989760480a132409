"""timm:NAME: timm's models as its benchmark.py runs them."""

from __future__ import annotations

from functools import partial
from typing import Any

from whichgpu.errors import MissingExtraError
from whichgpu.references.drawing import without_drawing
from whichgpu.references.loops import images, placed, step_maker
from whichgpu.references.reference import Reference, Steps
from whichgpu.references.without_torchvision import names_of_torchvision

NAMES = ("timm:*",)


def steps(reference: Reference) -> Steps:
    """Return timm's benchmark of one model: random weights, one fixed batch of images on the device.

    Training: cross-entropy, SGD with Nesterov's momentum 0.9 (what timm calls "sgd"), no scaler, under autocast
    where the precision says so.
    Inference: forward only, without gradients. Attention is fused where torch and the model can.
    Leaves out: loading data; clearing gradients, which stands outside of the step time.
    Source: huggingface/pytorch-image-models, benchmark.py and timm/optim/_optim_factory.py.
    """
    import torch

    timm = import_timm()
    timm.layers.set_fused_attn(reference.torch_major >= 2)
    # Its runs with torch 2 normalize in the dtype of autocast: those of models with layer and group norms got faster by
    # what the casts take, beside what a release gains.
    timm.layers.set_fast_norm(reference.torch_major >= 2)
    with without_drawing():
        plain = timm.create_model(reference.name.removeprefix("timm:"))
    if reference.torch_major < 2:
        _scale_scores(timm, plain)
    model = placed(plain, reference)
    branches = any(hasattr(m, "reparameterize") or hasattr(m, "fuse") for m in model.modules())
    if reference.merged and branches:
        model = placed(timm.utils.reparameterize_model(model), reference)

    def inputs(batch: int) -> tuple[Any, ...]:
        data = images(batch, reference)
        return (data,) if reference.task == "infer" else (data, torch.zeros(batch, dtype=torch.int64).cuda())

    def forward(model: Any, data: tuple[Any, ...]) -> Any:
        outputs = model(data[0])
        return outputs if reference.task == "infer" else torch.nn.functional.cross_entropy(outputs, data[1])

    def optimizer(parameters: Any) -> Any:
        return torch.optim.SGD(parameters, lr=1e-4, momentum=0.9, nesterov=True)

    make = step_maker(model, reference, inputs, forward, optimizer, clears_gradients=False)
    depends = any(hasattr(m, "fused_attn") or hasattr(m, "_fast_norm") for m in model.modules())
    return Steps(make, depends_on_torch=depends, merges=branches)


def _scale_scores(timm: Any, model: Any) -> None:
    """Let the common attention layer scale its scores, as timm's releases before fused attention (0.6, 0.8) did.

    Later ones scale the queries, which are smaller by far.
    """
    for module in model.modules():
        if type(module) is timm.layers.Attention and module.gate is None:
            module.forward = partial(_early_attention, module)


def _early_attention(layer: Any, x: Any, **kwargs: Any) -> Any:
    """Return attention of (b, n, c) to itself, (b, n, c)."""
    b, n, _ = x.shape
    q, k, v = layer.qkv(x).reshape(b, n, 3, layer.num_heads, layer.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
    scores = (layer.q_norm(q) @ layer.k_norm(k).transpose(-2, -1)) * layer.scale
    weights = layer.attn_drop(scores.softmax(dim=-1))
    return layer.proj_drop(layer.proj((weights @ v).transpose(1, 2).reshape(b, n, layer.attn_dim)))


def import_timm() -> Any:
    """Return timm, also where torchvision is missing or does not fit the installed torch.

    Raises:
        MissingExtraError: If timm is not installed.
    """
    try:
        with names_of_torchvision():
            import timm
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "validate", "build timm's models") from None
    return timm
