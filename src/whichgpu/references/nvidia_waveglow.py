"""nv:waveglow: a flow from mel spectrograms to speech, as NVIDIA's DeepLearningExamples train it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whichgpu.references.drawing import without_drawing
from whichgpu.references.loops import placed, step_maker
from whichgpu.references.reference import Reference, Steps

if TYPE_CHECKING:
    import torch

NAMES = ("nv:waveglow",)

# Audio samples of one training segment, and its spectrogram's frames.
SEGMENT, _FRAMES = 8000, 32
_MELS, _GROUP, _FLOWS = 80, 8, 12
_EARLY_EVERY, _EARLY = 4, 2
_LAYERS, _CHANNELS = 8, 512


def steps(reference: Reference) -> Steps:
    """Return training on segments of 8,000 audio samples: likelihood, gradients clipped, Adam.

    Model: 12 flows of 8 dilated convolutions of 512 channels with normalized weights, 8 samples a group.
    Leaves out: the loader and its spectrograms.
    Source: NVIDIA DeepLearningExamples, PyTorch/SpeechSynthesis/Tacotron2; arXiv 1811.00002.
    """
    import torch

    with without_drawing():
        model = placed(_model(), reference)

    def inputs(batch: int) -> tuple[Any, ...]:
        return torch.empty(batch, _MELS, _FRAMES, device="cuda"), torch.empty(batch, SEGMENT, device="cuda")

    def forward(model: Any, data: tuple[Any, ...]) -> Any:
        z, scales, determinants = model(*data)
        return ((z * z).sum() / 2 - sum(s.sum() for s in scales) - sum(determinants)) / z.numel()

    class Clipped(torch.optim.Adam):  # type: ignore[misc]
        def step(self, closure: Any = None) -> Any:
            torch.nn.utils.clip_grad_norm_([p for group in self.param_groups for p in group["params"]], 65504.0)
            return super().step(closure)

    return Steps(step_maker(model, reference, inputs, forward, Clipped), depends_on_torch=False)


def _model() -> torch.nn.Module:
    import torch
    from torch import nn
    from torch.nn.utils.parametrizations import weight_norm

    class Wave(nn.Module):  # type: ignore[misc]
        """Half of the audio (n, half, t) and the spectrogram (n, 640, t) -> shift and scale (n, 2 half, t)."""

        def __init__(self, half: int) -> None:
            super().__init__()
            self.start = weight_norm(nn.Conv1d(half, _CHANNELS, 1))
            self.end = nn.Conv1d(_CHANNELS, 2 * half, 1)
            self.dilated, self.conditions, self.skips = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
            for layer in range(_LAYERS):
                dilation = 2**layer
                dilated = nn.Conv1d(_CHANNELS, 2 * _CHANNELS, 3, dilation=dilation, padding=dilation)
                self.dilated.append(weight_norm(dilated))
                self.conditions.append(weight_norm(nn.Conv1d(_MELS * _GROUP, 2 * _CHANNELS, 1)))
                out = 2 * _CHANNELS if layer < _LAYERS - 1 else _CHANNELS
                self.skips.append(weight_norm(nn.Conv1d(_CHANNELS, out, 1)))

        def forward(self, audio: Any, spectrogram: Any) -> Any:
            audio = self.start(audio)
            output: Any = 0
            for layer, (dilated, condition, skip) in enumerate(
                zip(self.dilated, self.conditions, self.skips, strict=True)
            ):
                both = dilated(audio) + condition(spectrogram)
                found = skip(torch.tanh(both[:, :_CHANNELS]) * torch.sigmoid(both[:, _CHANNELS:]))
                if layer < _LAYERS - 1:
                    audio, found = found[:, :_CHANNELS] + audio, found[:, _CHANNELS:]
                output = found + output if layer else found
            return self.end(output)

    class WaveGlow(nn.Module):  # type: ignore[misc]
        """Spectrogram (n, 80, f) and audio (n, s) -> latent (n, 8, s / 8), scales and log-determinants."""

        def __init__(self) -> None:
            super().__init__()
            self.upsample = nn.ConvTranspose1d(_MELS, _MELS, 1024, stride=256)
            self.mixes, self.waves = nn.ModuleList(), nn.ModuleList()
            left = _GROUP
            for flow in range(_FLOWS):
                if flow and not flow % _EARLY_EVERY:
                    left -= _EARLY
                self.mixes.append(nn.Conv1d(left, left, 1, bias=False))
                self.waves.append(Wave(left // 2))

        def forward(self, spectrogram: Any, audio: Any) -> tuple[Any, list[Any], list[Any]]:
            up = self.upsample(spectrogram)[:, :, : audio.size(1)]
            up = up.unfold(2, _GROUP, _GROUP).permute(0, 2, 1, 3)
            up = up.contiguous().view(up.size(0), up.size(1), -1).permute(0, 2, 1)
            audio = audio.unfold(1, _GROUP, _GROUP).permute(0, 2, 1)
            early, scales, determinants = [], [], []
            for flow, (mix, wave) in enumerate(zip(self.mixes, self.waves, strict=True)):
                if flow and not flow % _EARLY_EVERY:
                    early.append(audio[:, :_EARLY])
                    audio = audio[:, _EARLY:]
                weight = mix.weight.squeeze().unsqueeze(0).float()
                determinants.append(audio.size(0) * audio.size(2) * torch.logdet(weight).squeeze())
                audio = mix(audio)
                half = audio.size(1) // 2
                first, second = audio[:, :half], audio[:, half:]
                found = wave(first, up)
                scales.append(found[:, half:])
                audio = torch.cat([first, torch.exp(scales[-1]) * second + found[:, :half]], 1)
            return torch.cat([*early, audio], 1), scales, determinants

    return WaveGlow()
