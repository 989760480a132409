"""nv:tacotron2: from text to mel spectrograms, as NVIDIA's DeepLearningExamples train it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from whichgpu.references.drawing import without_drawing
from whichgpu.references.loops import placed, step_maker
from whichgpu.references.reference import Reference, Steps

if TYPE_CHECKING:
    import torch

NAMES = ("nv:tacotron2",)

# Frames of an utterance that throughputs count: LJSpeech's mean, 6.57 s at 86.1 frames a second.
FRAMES = 566
# A batch is padded to its longest: nearly the longest there is, 9.9 s and 170 characters.
_PADDED, _CHARACTERS = 850, 170
_MELS, _SYMBOLS, _TEXT, _HIDDEN, _ATTENTION = 80, 148, 512, 1024, 128


def steps(reference: Reference) -> Steps:
    """Return training on LJSpeech: two mean squared errors and a gate, gradients clipped, Adam.

    Model: encoder of 3 convolutions and an LSTM in both directions; location-sensitive attention and two LSTM cells a
    frame; 5 convolutions after.
    Leaves out: the loader.
    Source: NVIDIA DeepLearningExamples, PyTorch/SpeechSynthesis/Tacotron2; arXiv 1712.05884.
    """
    import torch
    from torch.nn import functional

    with without_drawing():
        model = placed(_model(), reference)

    def inputs(batch: int) -> tuple[Any, ...]:
        text = torch.empty(batch, _CHARACTERS, dtype=torch.int64, device="cuda")
        mels = torch.empty(batch, _MELS, _PADDED, device="cuda")
        mask = torch.empty(batch, _CHARACTERS, dtype=torch.bool, device="cuda")
        return text, mels, torch.empty(batch, _PADDED, device="cuda"), mask

    def forward(model: Any, data: tuple[Any, ...]) -> Any:
        text, mels, gates, mask = data
        before, after, gate = model(text, mels, mask)
        errors = functional.mse_loss(before, mels) + functional.mse_loss(after, mels)
        return errors + functional.binary_cross_entropy_with_logits(gate.view(-1, 1), gates.view(-1, 1))

    class Clipped(torch.optim.Adam):  # type: ignore[misc]
        def __init__(self, parameters: Any) -> None:
            super().__init__(parameters, lr=1e-3, weight_decay=1e-6)

        def step(self, closure: Any = None) -> Any:
            torch.nn.utils.clip_grad_norm_([p for group in self.param_groups for p in group["params"]], 1.0)
            return super().step(closure)

    return Steps(step_maker(model, reference, inputs, forward, Clipped), depends_on_torch=False)


def _model() -> torch.nn.Module:
    import torch
    from torch import nn
    from torch.nn import functional

    def convolved(inside: int, outside: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv1d(inside, outside, 5, padding=2), nn.BatchNorm1d(outside))

    class Attention(nn.Module):  # type: ignore[misc]
        """State (n, 1024) and text (n, s, 512) -> context (n, 512) and weights (n, s)."""

        def __init__(self) -> None:
            super().__init__()
            self.query = nn.Linear(_HIDDEN, _ATTENTION, bias=False)
            self.text = nn.Linear(_TEXT, _ATTENTION, bias=False)
            self.score = nn.Linear(_ATTENTION, 1, bias=False)
            self.place = nn.Conv1d(2, 32, 31, padding=15, bias=False)
            self.dense = nn.Linear(32, _ATTENTION, bias=False)

        def forward(self, state: Any, text: Any, keys: Any, weights: Any, mask: Any) -> tuple[Any, Any]:
            query = self.query(state.unsqueeze(1))
            places = self.dense(self.place(weights).transpose(1, 2))
            energies = self.score(torch.tanh(query + places + keys)).squeeze(2)
            found = functional.softmax(energies.masked_fill(mask, float("-inf")), dim=1)
            return torch.bmm(found.unsqueeze(1), text).squeeze(1), found

    class Tacotron(nn.Module):  # type: ignore[misc]
        """Text (n, s) and frames (n, 80, t) -> frames before and after the last convolutions, and gates (n, t)."""

        def __init__(self) -> None:
            super().__init__()
            self.symbols = nn.Embedding(_SYMBOLS, _TEXT)
            self.convolutions = nn.ModuleList(convolved(_TEXT, _TEXT) for _ in range(3))
            self.encoder = nn.LSTM(_TEXT, _TEXT // 2, batch_first=True, bidirectional=True)
            self.before = nn.ModuleList([nn.Linear(_MELS, 256, bias=False), nn.Linear(256, 256, bias=False)])
            self.attention_cell = nn.LSTMCell(256 + _TEXT, _HIDDEN)
            self.attention = Attention()
            self.decoder_cell = nn.LSTMCell(_HIDDEN + _TEXT, _HIDDEN)
            self.frame = nn.Linear(_HIDDEN + _TEXT, _MELS)
            self.gate = nn.Linear(_HIDDEN + _TEXT, 1)
            widths = (_MELS, *(4 * (512,)), _MELS)
            self.after = nn.ModuleList(convolved(a, b) for a, b in pairwise(widths))

        def forward(self, text: Any, mels: Any, mask: Any) -> tuple[Any, Any, Any]:
            x = self.symbols(text).transpose(1, 2)
            for layer in self.convolutions:
                x = functional.dropout(functional.relu(layer(x)), 0.5, self.training)
            memory, _ = self.encoder(x.transpose(1, 2))
            frames, gates = self.decoded(memory, mels, mask)
            x = frames
            for number, layer in enumerate(self.after):
                x = layer(x)
                x = functional.dropout(torch.tanh(x) if number < len(self.after) - 1 else x, 0.5, self.training)
            return frames, frames + x, gates

        def decoded(self, memory: Any, mels: Any, mask: Any) -> tuple[Any, Any]:
            n, s, _ = memory.shape
            x = torch.cat((memory.new_zeros(1, n, _MELS), mels.permute(2, 0, 1)), 0)
            for layer in self.before:
                x = functional.dropout(functional.relu(layer(x)), 0.5, True)
            states = [memory.new_zeros(n, _HIDDEN) for _ in range(4)]
            weights, total = memory.new_zeros(n, s), memory.new_zeros(n, s)
            context = memory.new_zeros(n, _TEXT)
            keys = self.attention.text(memory)
            frames, gates = [], []
            for frame in x[:-1].unbind(0):
                hidden, cell = self.attention_cell(torch.cat((frame, context), -1), (states[0], states[1]))
                hidden = functional.dropout(hidden, 0.1, self.training)
                both = torch.cat((weights.unsqueeze(1), total.unsqueeze(1)), 1)
                context, weights = self.attention(hidden, memory, keys, both, mask)
                total = total + weights
                state, inner = self.decoder_cell(torch.cat((hidden, context), -1), (states[2], states[3]))
                state = functional.dropout(state, 0.1, self.training)
                states = [hidden, cell, state, inner]
                both = torch.cat((state, context), 1)
                frames.append(self.frame(both))
                gates.append(self.gate(both))
            stacked = torch.stack(frames).transpose(0, 1).contiguous()
            return stacked.transpose(1, 2), torch.stack(gates).squeeze(-1).transpose(0, 1).contiguous()

    return Tacotron()
