"""mnist: the first network everybody trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whichgpu.workloads.workload import Workload

if TYPE_CHECKING:
    import torch


class Mnist(Workload):
    """Handwritten digits with two convolutions: the net of the PyTorch examples.

    Model: conv 1->32 3x3, ReLU, conv 32->64 3x3, ReLU, max-pool 2, dropout 0.25, linear 9216->128, ReLU, dropout 0.5,
    linear 128->10, log-softmax; 1.2 million parameters.
    Training: batch 64, Adadelta (lr 1.0), negative log-likelihood, float32.
    Data: MNIST, 60,000 training images of 28x28 in grey.
    Leaves out: loading and normalising the images, the test pass after an epoch.
    Source: github.com/pytorch/examples, mnist/main.py.
    """

    name = "mnist"
    title = "MNIST, two-convolution net"
    batch = 64
    precision = "fp32"
    layouts = ("nchw", "channels_last")
    samples_per_epoch = 60_000
    sample = "image of 28x28"

    def model(self) -> torch.nn.Module:
        """Return the net, (n, 1, 28, 28) -> (n, 10) log-probabilities."""
        from torch import nn

        return nn.Sequential(
            nn.Conv2d(1, 32, 3),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(0.25),
            nn.Flatten(),
            nn.Linear(9216, 128),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(128, 10),
            nn.LogSoftmax(dim=1),
        )

    def optimizer(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        """Return Adadelta with the example's learning rate."""
        import torch

        return torch.optim.Adadelta(model.parameters(), lr=1.0)

    def inputs(self, batch: int) -> tuple[torch.Tensor, ...]:
        """Return images (n, 1, 28, 28) and labels (n,)."""
        import torch

        return torch.randn(batch, 1, 28, 28), torch.randint(0, 10, (batch,))

    def loss(self, model: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return the mean negative log-likelihood."""
        from torch.nn import functional

        images, labels = inputs
        return functional.nll_loss(model(images), labels)


WORKLOAD = Mnist()
