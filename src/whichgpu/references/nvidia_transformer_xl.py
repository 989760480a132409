"""nv:transformerxl_*: Transformer-XL on WikiText-103, as NVIDIA's DeepLearningExamples train it.

NVIDIA's own tables are of an adaptive softmax. Lambda's runs of the same scripts take 1.5 to 2 times as long on the
same GPUs, and a word of the batch takes 3.1 MB of memory: both are what logits over all 267,735 words amount to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from whichgpu.errors import OptionError
from whichgpu.references.drawing import without_drawing
from whichgpu.references.loops import placed, step_maker
from whichgpu.references.reference import Reference, Steps

if TYPE_CHECKING:
    import torch


class _Size(NamedTuple):
    layers: int
    width: int
    heads: int
    inner: int
    dropout: float
    # Whether rarer words come in clusters, each with embeddings narrower by the factor than the one before.
    adaptive: bool
    narrowing: int


_SIZES = {
    "nv:transformerxl_base": _Size(16, 512, 8, 2048, 0.1, False, 1),
    "nv:transformerxl_large": _Size(18, 1024, 16, 4096, 0.2, False, 1),
    "nv:transformerxl_base_adaptive": _Size(16, 512, 8, 2048, 0.1, True, 1),
    "nv:transformerxl_large_adaptive": _Size(18, 1024, 16, 4096, 0.2, True, 4),
}
NAMES = tuple(_SIZES)

_HEAD = 64
# Clusters of the adaptive softmax: words by falling frequency, of 267,735 in all.
_ENDS = (19_997, 39_997, 199_997, 267_735)
# One in so many words belongs to each of the rarer clusters. By Zipf's law with the vocabulary cut at three occurrences
# some 93 %, 3.3 %, 3.4 % and 0.2 % of the 103 million words do.
_ONE_IN = (30, 30, 430)


def steps(reference: Reference) -> Steps:
    """Return training on segments of `reference.sample` words with as many words remembered.

    Model: relative positions, tied embeddings, norms after each block, softmax over all words or the adaptive one;
    base: 16 layers of 512, large: 18 layers of 1,024.
    Training: gradients clipped, Adam; base trains by LAMB, taken as Adam and two norms more a tensor.
    Leaves out: reading batches, which lie on the device.
    Source: NVIDIA DeepLearningExamples, PyTorch/LanguageModeling/Transformer-XL; arXiv 1901.02860.
    """
    import torch

    if len(reference.sample) != 1:
        raise OptionError(f"{reference.name} needs the length of its segments; it got the shape {reference.sample}.")
    (length,) = reference.sample
    size = _SIZES[reference.name]
    with without_drawing():
        model: Any = placed(_model(size), reference)
    dtype = next(model.layers.parameters()).dtype

    def inputs(batch: int) -> tuple[Any, ...]:
        words = _words(length).repeat(1, batch).cuda()
        memories = torch.empty(size.layers + 1, length, batch, size.width, dtype=dtype, device="cuda")
        return words, list(memories.unbind(0))

    def forward(model: Any, data: tuple[Any, ...]) -> Any:
        words, memories = data
        return model(words, memories).float().mean()

    class Clipped(torch.optim.Adam):  # type: ignore[misc]
        def step(self, closure: Any = None) -> Any:
            parameters = [p for group in self.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, 0.25)
            result = super().step(closure)
            if size.heads == 8:
                # LAMB's trust ratios.
                torch._foreach_norm(parameters)
                torch._foreach_norm([p.grad for p in parameters if p.grad is not None])
            return result

    return Steps(step_maker(model, reference, inputs, forward, Clipped), depends_on_torch=False)


def _words(length: int) -> torch.Tensor:
    """Return a segment (length, 1) with as many words of each cluster as text has, to the nearest whole."""
    import torch

    words = torch.arange(length) % _ENDS[0]
    place = 0
    for cluster, one_in in enumerate(_ONE_IN):
        for _ in range(round(length / one_in)):
            words[place] = _ENDS[cluster] + place
            place += 2
    return words[:, None]


def _model(size: _Size) -> torch.nn.Module:
    import torch
    from torch import nn
    from torch.nn import functional

    class Embedding(nn.Module):  # type: ignore[misc]
        """Words (t, n) -> vectors (t, n, width); with narrowing, cluster by cluster."""

        def __init__(self) -> None:
            super().__init__()
            begins = (0, *_ENDS)
            widths = [size.width // size.narrowing**i for i in range(len(_ENDS))]
            if size.narrowing == 1:
                self.tables = nn.ParameterList([nn.Parameter(torch.empty(_ENDS[-1], size.width))])
                self.projections = nn.ParameterList()
            else:
                sizes = [end - begin for begin, end in zip(begins, _ENDS, strict=False)]
                self.tables = nn.ParameterList(
                    nn.Parameter(torch.empty(n, w)) for n, w in zip(sizes, widths, strict=True)
                )
                self.projections = nn.ParameterList(nn.Parameter(torch.empty(size.width, w)) for w in widths)

        def forward(self, words: torch.Tensor) -> torch.Tensor:
            if size.narrowing == 1:
                return functional.embedding(words, self.tables[0]) * size.width**0.5
            flat = words.view(-1)
            found = torch.zeros(len(flat), size.width, dtype=self.projections[0].dtype, device=flat.device)
            for cluster, (begin, end) in enumerate(zip((0, *_ENDS), _ENDS, strict=False)):
                places = ((flat >= begin) & (flat < end)).nonzero().squeeze(1)
                rows = functional.embedding(flat.index_select(0, places) - begin, self.tables[cluster])
                found = found.index_copy(0, places, functional.linear(rows, self.projections[cluster]))
            return found.view(*words.shape, size.width) * size.width**0.5

    class Attention(nn.Module):  # type: ignore[misc]
        """Attention of a segment (t, n, width) to itself and what is remembered (m, n, width)."""

        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(size.width, 3 * size.heads * _HEAD, bias=False)
            self.r = nn.Linear(size.width, size.heads * _HEAD, bias=False)
            self.out = nn.Linear(size.heads * _HEAD, size.width, bias=False)
            self.norm = nn.LayerNorm(size.width)
            self.drop = nn.Dropout(size.dropout)
            self.drop_weights = nn.Dropout(size.dropout if size.heads > 8 else 0.0)

        def forward(self, x: Any, r: Any, content: Any, position: Any, mask: Any, memory: Any) -> Any:
            t, n, _ = x.shape
            heads = self.qkv(torch.cat([memory, x], 0))
            q, k, v = heads.chunk(3, dim=-1)
            q = q[-t:].view(t, n, size.heads, _HEAD)
            k, v = (part.view(-1, n, size.heads, _HEAD) for part in (k, v))
            r = self.r(r).view(-1, size.heads, _HEAD)
            scores = torch.einsum("ibnd,jbnd->bnij", q + content, k)
            shifted = _shifted(torch.einsum("ibnd,jnd->bnij", q + position, r))
            scores = (scores + shifted).mul_(_HEAD**-0.5)
            scores = scores.float().masked_fill(mask, float("-inf")).type_as(scores)
            weights = self.drop_weights(functional.softmax(scores, dim=3))
            vector = torch.einsum("bnij,jbnd->ibnd", weights, v).contiguous().view(t, n, -1)
            return self.norm(x + self.drop(self.out(vector)))

    class FeedForward(nn.Module):  # type: ignore[misc]
        """(t, n, width) -> (t, n, width)."""

        def __init__(self) -> None:
            super().__init__()
            self.core = nn.Sequential(
                nn.Linear(size.width, size.inner),
                nn.ReLU(inplace=True),
                nn.Dropout(size.dropout),
                nn.Linear(size.inner, size.width),
                nn.Dropout(size.dropout),
            )
            self.norm = nn.LayerNorm(size.width)

        def forward(self, x: Any) -> Any:
            return self.norm(x + self.core(x))

    class TransformerXL(nn.Module):  # type: ignore[misc]
        """Words (t, n) and memories -> the loss of each word, (t * n,)."""

        def __init__(self) -> None:
            super().__init__()
            self.embedding = Embedding()
            self.layers = nn.ModuleList(nn.ModuleList([Attention(), FeedForward()]) for _ in range(size.layers))
            self.content = nn.Parameter(torch.empty(size.heads, _HEAD))
            self.position = nn.Parameter(torch.empty(size.heads, _HEAD))
            self.clusters = nn.Linear(size.width, len(_ENDS) - 1)
            self.biases = nn.Parameter(torch.zeros(_ENDS[-1]))
            self.drop = nn.Dropout(size.dropout)

        def forward(self, words: Any, memories: list[Any]) -> Any:
            t = len(words)
            x = self.drop(self.embedding(words))
            m = len(memories[0])
            mask = torch.triu(x.new_ones(t, t + m), diagonal=1 + m).bool()
            r = self.drop(_positions(t + m, x))
            hidden = [x]
            for attention, feed_forward in self.layers:
                x = feed_forward(attention(x, r, self.content, self.position, mask, memories[len(hidden) - 1]))
                hidden.append(x)
            with torch.no_grad():
                for memory, new in zip(memories, hidden, strict=True):
                    torch.cat([memory, new], 0)[-m:].detach()
            return self.losses(self.drop(x).view(-1, size.width), words.reshape(-1))

        def losses(self, x: Any, targets: Any) -> Any:
            if not size.adaptive:
                logits = functional.linear(x, self.embedding.tables[0], self.biases)
                return -functional.log_softmax(logits, dim=1).gather(1, targets[:, None]).squeeze(1)
            begins = (0, *_ENDS)
            head_weight = torch.cat([self.weight(0), self.clusters.weight], 0)
            head_bias = torch.cat([self.biases[: _ENDS[0]], self.clusters.bias], 0)
            head = functional.log_softmax(self.logits(x, 0, head_weight, head_bias), dim=1)
            found = torch.zeros_like(targets, dtype=x.dtype)
            for cluster, (begin, end) in enumerate(zip(begins, _ENDS, strict=False)):
                places = ((targets >= begin) & (targets < end)).nonzero().squeeze(1)
                within = targets.index_select(0, places) - begin
                logs = head.index_select(0, places)
                if not cluster:
                    chosen = logs.gather(1, within[:, None]).squeeze(1)
                else:
                    rare = self.logits(x.index_select(0, places), cluster, self.weight(cluster), self.biases[begin:end])
                    tail = functional.log_softmax(rare, dim=1)
                    chosen = logs[:, -cluster] + tail.gather(1, within[:, None]).squeeze(1)
                found = found.index_copy(0, places, -chosen.type_as(found))
            return found

        def weight(self, cluster: int) -> Any:
            if size.narrowing > 1:
                return self.embedding.tables[cluster]
            begin = (0, *_ENDS)[cluster]
            return self.embedding.tables[0][begin : _ENDS[cluster]]

        def logits(self, x: Any, cluster: int, weight: Any, bias: Any) -> Any:
            if size.narrowing > 1 and cluster:
                x = functional.linear(x, self.embedding.projections[cluster].t())
            return functional.linear(x, weight, bias)

    return TransformerXL()


def _shifted(x: Any) -> Any:
    """Return scores (n, h, t, k) with each row moved left by its distance from the last."""
    import torch

    zero = torch.zeros(*x.shape[:3], 1, device=x.device, dtype=x.dtype)
    padded = torch.cat([zero, x], dim=3).view(x.size(0), x.size(1), x.size(3) + 1, x.size(2))
    return padded.narrow(2, 1, x.size(3)).view_as(x)


def _positions(count: int, like: Any) -> Any:
    """Return sinusoids of distances count - 1 to 0, (count, width)."""
    import torch

    width = like.shape[-1]
    frequencies = 1 / (10_000 ** (torch.arange(0.0, width, 2.0, device=like.device) / width))
    angles = torch.outer(torch.arange(count - 1, -1, -1.0, device=like.device), frequencies)
    return torch.cat([angles.sin(), angles.cos()], dim=-1).to(like.dtype)
