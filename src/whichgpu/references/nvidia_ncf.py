"""nv:ncf_ml20m: neural collaborative filtering on MovieLens-20M, as NVIDIA's DeepLearningExamples train it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from whichgpu.references.drawing import without_drawing
from whichgpu.references.loops import placed, step_maker
from whichgpu.references.reference import Reference, Steps

if TYPE_CHECKING:
    import torch

NAMES = ("nv:ncf_ml20m",)

_USERS, _ITEMS = 138_493, 26_744
_FACTORS = 64
_LAYERS = (256, 256, 128, 64)


def steps(reference: Reference) -> Steps:
    """Return training of NeuMF: binary cross-entropy, Adam in one kernel over all tensors (apex's FusedAdam).

    Model: 64 factors; layers of 256, 256, 128 and 64; dropout 0.5; dense gradients of the embeddings.
    Leaves out: drawing negatives, once an epoch, on the device.
    Source: NVIDIA DeepLearningExamples, PyTorch/Recommendation/NCF; arXiv 1708.05031.
    """
    import torch

    with without_drawing():
        model = placed(_model(), reference)

    def inputs(batch: int) -> tuple[Any, ...]:
        users, items = (torch.empty(batch, dtype=torch.int64, device="cuda") for _ in range(2))
        return users, items, torch.empty(batch, device="cuda")

    def forward(model: Any, data: tuple[Any, ...]) -> Any:
        users, items, clicked = data
        logits = model(users, items).squeeze(1)
        return torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), clicked)

    def optimizer(parameters: Any) -> Any:
        return torch.optim.Adam(parameters, lr=4.5e-3, betas=(0.25, 0.5), fused=True)

    return Steps(step_maker(model, reference, inputs, forward, optimizer), depends_on_torch=False)


def _model() -> torch.nn.Module:
    import torch
    from torch import nn

    class NeuMf(nn.Module):  # type: ignore[misc]
        """Users (n,) and items (n,) -> logits (n, 1)."""

        def __init__(self) -> None:
            super().__init__()
            half = _LAYERS[0] // 2
            self.user_factors, self.item_factors = nn.Embedding(_USERS, _FACTORS), nn.Embedding(_ITEMS, _FACTORS)
            self.users, self.items = nn.Embedding(_USERS, half), nn.Embedding(_ITEMS, half)
            self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(_LAYERS))
            self.last = nn.Linear(_FACTORS + _LAYERS[-1], 1)

        def forward(self, users: Any, items: Any) -> Any:
            factors = self.user_factors(users) * self.item_factors(items)
            x = torch.cat((self.users(users), self.items(items)), dim=1)
            for layer in self.layers:
                x = nn.functional.dropout(nn.functional.relu(layer(x)), p=0.5, training=self.training)
            return self.last(torch.cat((factors, x), dim=1))

    return NeuMf()
