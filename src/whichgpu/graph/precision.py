"""Precisions a job can train in, and which number formats each one computes with."""

from __future__ import annotations

from dataclasses import dataclass

from whichgpu.errors import UnknownNameError


@dataclass(frozen=True, slots=True)
class Precision:
    """A way to train.

    Attributes:
        name: The name used everywhere.
        autocast: dtype autocast turns matrix math into, or None.
        weights: dtype of parameters, gradients and optimizer state.
        matmul_tf32: Whether float32 matrix products may use TF32 tensor cores.
        convolution_tf32: The same for convolutions; PyTorch allows it by default.
        loss_scaling: Whether a gradient scaler runs.
        meaning: One line for people.
    """

    name: str
    autocast: str | None
    weights: str
    matmul_tf32: bool
    convolution_tf32: bool
    loss_scaling: bool
    meaning: str

    @property
    def matrix_format(self) -> str:
        """The number format most matrix math runs in, in the terms of a device file: fp32, tf32, fp16, bf16."""
        dtype = self.autocast or self.weights
        return {"float16": "fp16", "bfloat16": "bf16"}.get(dtype, "tf32" if self.matmul_tf32 else "fp32")


PRECISIONS: dict[str, Precision] = {
    p.name: p
    for p in (
        Precision(
            "fp32",
            None,
            "float32",
            False,
            True,
            False,
            "float32; convolutions in TF32 where there is any, as in PyTorch",
        ),
        Precision("tf32", None, "float32", True, True, False, "float32 storage, TF32 tensor cores for all matrix math"),
        Precision("amp-fp16", "float16", "float32", False, True, True, "autocast to float16 with a gradient scaler"),
        Precision("amp-bf16", "bfloat16", "float32", False, True, False, "autocast to bfloat16"),
        Precision("bf16", None, "bfloat16", False, True, False, "weights and math in bfloat16"),
    )
}


def precision(name: str) -> Precision:
    """Return the precision called `name`.

    Raises:
        UnknownNameError: If there is none.
    """
    try:
        return PRECISIONS[name]
    except KeyError:
        raise UnknownNameError("precision", name, PRECISIONS) from None
