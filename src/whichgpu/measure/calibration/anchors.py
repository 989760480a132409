"""Whole steps of built-in jobs: what all the kernels must add up to."""

from __future__ import annotations

from collections.abc import Iterator

from whichgpu.measure.calibration.probe import AnchorProbe, Scope

# The most telling first: convolutions, a language model, a net bound by the host; then precisions and sizes.
_ANCHORS = (
    AnchorProbe("resnet50", 64, "amp-fp16", "channels_last"),
    AnchorProbe("gpt2", 8, "amp-bf16"),
    AnchorProbe("mnist", 64, "fp32", "nchw"),
    AnchorProbe("resnet50", 32, "fp32", "nchw"),
    AnchorProbe("bert-base", 16, "amp-fp16"),
    AnchorProbe("resnet50", 64, "amp-fp16", "nchw"),
    AnchorProbe("vit-b16", 64, "amp-bf16"),
    AnchorProbe("resnet50", 1, "amp-fp16", "channels_last", "infer"),
    AnchorProbe("resnet50", 256, "amp-fp16", "channels_last", "infer"),
    AnchorProbe("gpt2", 1, "amp-bf16"),
    AnchorProbe("gpt2", 4, "fp32"),
    AnchorProbe("gpt2", 4, "tf32"),
    AnchorProbe("lstm", 64, "fp32"),
    AnchorProbe("mnist", 1, "fp32", "nchw"),
    AnchorProbe("resnet50", 1, "amp-fp16", "channels_last"),
    AnchorProbe("bert-base", 32, "amp-fp16", task="infer"),
    AnchorProbe("gpt2", 1, "amp-bf16", task="infer"),
    AnchorProbe("resnet50", 64, "amp-fp16", "channels_last", "infer", compiled=True),
    AnchorProbe("gpt2", 8, "amp-bf16", compiled=True),
    AnchorProbe("resnet50", 128, "amp-fp16", "channels_last", grow=True),
    AnchorProbe("gpt2", 16, "amp-bf16", grow=True),
    AnchorProbe("mnist", 4096, "fp32", "nchw"),
    AnchorProbe("unet-sd15", 2, "amp-fp16"),
    AnchorProbe("llama3-8b-lora", 1, "bf16"),
    AnchorProbe("resnet50", 64, "amp-fp16", "channels_last", compiled=True),
)
_QUICK = 4
_ON_CPU = (
    AnchorProbe("mnist", 64, "fp32", "nchw"),
    AnchorProbe("mnist", 1, "fp32", "nchw"),
    AnchorProbe("resnet50", 4, "fp32", "nchw"),
    AnchorProbe("gpt2", 1, "fp32"),
    AnchorProbe("lstm", 8, "fp32"),
    AnchorProbe("resnet50", 8, "fp32", "channels_last", "infer"),
    AnchorProbe("bert-base", 1, "fp32", task="infer"),
)


def probes(scope: Scope) -> Iterator[AnchorProbe]:
    """Yield the steps whose precision the device has."""
    anchors = _ON_CPU if scope.is_cpu else _ANCHORS
    wanted = {"amp-fp16": "fp16", "amp-bf16": "bf16"}
    found = [a for a in anchors if wanted.get(a.precision, a.precision) in scope.formats]
    yield from found[:_QUICK] if scope.quick else found
