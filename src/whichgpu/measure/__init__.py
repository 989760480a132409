"""Really training a job on this machine; torch is imported only when something here is called."""

from whichgpu.measure.measure import measure
from whichgpu.measure.measurement import Measurement, Phase, Progress
from whichgpu.measure.mnist_digits import Digits, load_digits
from whichgpu.measure.mnist_training import TrainingResult, train_mnist

__all__ = [
    "Digits",
    "Measurement",
    "Phase",
    "Progress",
    "TrainingResult",
    "load_digits",
    "measure",
    "train_mnist",
]
