"""nv:gnmt: translation by LSTMs with attention, as NVIDIA's DeepLearningExamples train it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whichgpu.references.drawing import without_drawing
from whichgpu.references.loops import placed, step_maker
from whichgpu.references.reference import Reference, Steps

if TYPE_CHECKING:
    import torch

NAMES = ("nv:gnmt",)

_WORDS, _WIDTH, _LAYERS = 32_320, 1024, 4
# Tokens of a sentence, either language: WMT16 German-English, at most 50 after splitting words; buckets pad little.
SENTENCE = 27


def steps(reference: Reference) -> Steps:
    """Return training of GNMT v2 on pairs of sentences of 27 tokens, the mean of the data.

    Model: 4 LSTM layers of 1,024 each way, the encoder's first one in both directions, normalized Bahdanau attention,
    dropout 0.2.
    Training: label smoothing, gradients clipped, Adam; half precision keeps float32 master weights.
    Leaves out: padding within a bucket, the loader.
    Source: NVIDIA DeepLearningExamples, PyTorch/Translation/GNMT; arXiv 1609.08144.
    """
    import torch

    with without_drawing():
        model = placed(_model(), reference)

    def inputs(batch: int) -> tuple[Any, ...]:
        source, target = (torch.empty(batch, SENTENCE, dtype=torch.int64, device="cuda") for _ in range(2))
        return source, target, torch.empty(batch, 1, SENTENCE, dtype=torch.bool, device="cuda")

    def forward(model: Any, data: tuple[Any, ...]) -> Any:
        source, target, padding = data
        logs = torch.nn.functional.log_softmax(model(source, target, padding).float(), dim=-1)
        truth = -logs.gather(-1, target.unsqueeze(-1)).squeeze(-1)
        return (0.9 * truth - 0.1 * logs.mean(dim=-1)).sum() / len(source)

    class Clipped(torch.optim.Adam):  # type: ignore[misc]
        def step(self, closure: Any = None) -> Any:
            torch.nn.utils.clip_grad_norm_([p for group in self.param_groups for p in group["params"]], 5.0)
            return super().step(closure)

    return Steps(step_maker(model, reference, inputs, forward, Clipped), depends_on_torch=False)


def _model() -> torch.nn.Module:
    import torch
    from torch import nn

    def lstm(width: int, both: bool = False) -> nn.LSTM:
        return nn.LSTM(width, _WIDTH, batch_first=True, bidirectional=both)

    class Attention(nn.Module):  # type: ignore[misc]
        """Queries (n, t, c) and keys (n, s, c) -> context (n, t, c)."""

        def __init__(self) -> None:
            super().__init__()
            self.query, self.key = (nn.Linear(_WIDTH, _WIDTH, bias=False) for _ in range(2))
            self.vector, self.bias = (nn.Parameter(torch.empty(_WIDTH)) for _ in range(2))
            self.scale = nn.Parameter(torch.empty(1))

        def forward(self, queries: Any, keys: Any, padding: Any) -> Any:
            shape = (len(queries), queries.size(1), keys.size(1), _WIDTH)
            both = self.query(queries).unsqueeze(2).expand(shape) + self.key(keys).unsqueeze(1).expand(shape)
            both = both + self.bias
            vector = self.vector / self.vector.norm() * self.scale
            scores = torch.tanh(both).matmul(vector).masked_fill(padding, -65504.0)
            return torch.bmm(nn.functional.softmax(scores, dim=-1), keys)

    class Gnmt(nn.Module):  # type: ignore[misc]
        """Source (n, s) and target (n, t) -> logits (n, t, words)."""

        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(_WORDS, _WIDTH, padding_idx=0)
            self.encoder = nn.ModuleList([lstm(_WIDTH, both=True), lstm(2 * _WIDTH), lstm(_WIDTH), lstm(_WIDTH)])
            self.decoder = nn.ModuleList([lstm(_WIDTH), *(lstm(2 * _WIDTH) for _ in range(_LAYERS - 1))])
            self.attention = Attention()
            self.drop = nn.Dropout(0.2)
            self.classifier = nn.Linear(_WIDTH, _WORDS)

        def forward(self, source: Any, target: Any, padding: Any) -> Any:
            x = self.drop(self.words(source))
            for number, layer in enumerate(self.encoder):
                y, _ = layer(x)
                x = y + x if number >= 2 else y
                x = self.drop(x) if number < _LAYERS - 1 else x
            context = x
            x, _ = self.decoder[0](self.drop(self.words(target)))
            attended = self.attention(x, context, padding)
            for number, layer in enumerate(self.decoder[1:]):
                y, _ = layer(self.drop(torch.cat((x, attended), dim=2)))
                x = y + x if number else y
            return self.classifier(x)

    return Gnmt()
