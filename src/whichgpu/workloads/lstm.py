"""lstm: a recurrent language model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whichgpu.workloads.workload import Workload

if TYPE_CHECKING:
    import torch


class Lstm(Workload):
    """A two-layer LSTM language model on WikiText-2.

    Model: embedding of 33,278 words in width 650, two LSTM layers of 650, dropout 0.5, a linear decoder; the medium
    model of Zaremba et al.; 50 million parameters.
    Training: 20 sequences of 35 words a step (truncated back-propagation), SGD (lr 1.0), gradients clipped to norm 5,
    float32.
    Data: WikiText-2, 2,088,628 training words: 59,675 sequences of 35.
    Leaves out: carrying the hidden state from step to step (it starts at zero here); evaluation.
    Source: arXiv 1409.2329; github.com/pytorch/examples, word_language_model.
    """

    name = "lstm"
    title = "LSTM language model on WikiText-2"
    batch = 20
    precision = "fp32"
    samples_per_epoch = 59_675
    sample = "sequence of 35 words"
    clip_norm = 5.0

    WORDS = 33_278
    WIDTH = 650

    def model(self) -> torch.nn.Module:
        """Return the parts: words (35, n) -> logits (35, n, 33278)."""
        from torch import nn

        return nn.ModuleDict(
            {
                "embedding": nn.Embedding(self.WORDS, self.WIDTH),
                "dropout": nn.Dropout(0.5),
                "lstm": nn.LSTM(self.WIDTH, self.WIDTH, num_layers=2, dropout=0.5),
                "decoder": nn.Linear(self.WIDTH, self.WORDS),
            }
        )

    def optimizer(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        """Return plain SGD."""
        import torch

        return torch.optim.SGD(model.parameters(), lr=1.0)

    def inputs(self, batch: int) -> tuple[torch.Tensor, ...]:
        """Return words and the words that follow them, (35, n) each."""
        import torch

        words = torch.randint(0, self.WORDS, (36, batch))
        return words[:-1].contiguous(), words[1:].contiguous()

    def loss(self, model: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return the mean cross-entropy of the next word."""
        from torch import nn
        from torch.nn import functional

        assert isinstance(model, nn.ModuleDict)
        words, following = inputs
        hidden, _ = model["lstm"](model["dropout"](model["embedding"](words)))
        logits = model["decoder"](model["dropout"](hidden))
        return functional.cross_entropy(logits.view(-1, self.WORDS), following.view(-1))


WORKLOAD = Lstm()
