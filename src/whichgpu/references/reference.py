"""What names a published job: which model, doing what, in which number formats, on what samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

# "gradients" is a training step that stops before the update.
Task = Literal["train", "gradients", "infer"]
# How half precision is reached: PyTorch's own autocast, with or without a gradient scaler; all weights and activations
# but batch norms in float16, master weights apart (apex's level O2, FP16_Optimizer).
Recipe = Literal["autocast", "autocast-scaled", "o2"]

Step = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Reference:
    """A published job at no particular batch.

    Attributes:
        name: As measurements spell it: "timm:resnet50".
        task: What a step does.
        precision: A name of `whichgpu.graph.PRECISIONS`.
        recipe: How that precision is reached, where it is not by the weights' own number format.
        layout: "nchw" or "channels_last" for images, else "".
        sample: Shape of one sample: (channels, height, width), (tokens,).
        torch_major: Major version of torch, as far as it decides what runs: 1 has no fused attention, optimizers update
            one tensor after the other, and clearing gradients leaves zeros that the next ones are added to.
        merged: Whether branches that serve training alone are merged into one convolution first, where a model has any.
    """

    name: str
    task: Task = "train"
    precision: str = "amp-fp16"
    recipe: Recipe = "autocast"
    layout: str = ""
    sample: tuple[int, ...] = ()
    torch_major: int = 2
    merged: bool = False


@dataclass(frozen=True, slots=True)
class Steps:
    """One model and optimizer, and steps of it at any batch.

    Attributes:
        at: From a batch to a step on it.
        depends_on_torch: Whether inference depends on `Reference.torch_major`: the model has attention to choose, say.
        merges: Whether it depends on `Reference.merged`.
    """

    at: Callable[[int], Step]
    depends_on_torch: bool = True
    merges: bool = False
