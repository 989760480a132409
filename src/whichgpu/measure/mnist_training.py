"""Training mnist for real: on digits, over epochs, to a test accuracy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from whichgpu.errors import MeasureError, require_count
from whichgpu.measure.measurement import Phase, Progress
from whichgpu.measure.mnist_digits import Digits, load_digits
from whichgpu.measure.target import Target
from whichgpu.other_programs import ProcessorTime, crowding_note

if TYPE_CHECKING:
    import torch

    from whichgpu.workloads.workload import Workload

# Mean and standard deviation of MNIST's grey levels, and the learning rate's factor an epoch, of the PyTorch example.
_MEAN, _DEVIATION = 0.1307, 0.3081
_LEARNING_RATE_FACTOR = 0.7
_TOLD_EVERY_STEPS = 20
_TEST_BATCH = 1000
# How far a digit of a small set is turned and shifted, at most, each time it is drawn.
_TURN_DEGREES, _SHIFT_PIXELS = 12.0, 2.0


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What came of training a net on digits.

    Attributes:
        job: The job's name.
        device: Full name of the device it trained on.
        label: Short name for tables.
        source: What the digits are.
        real: Whether people wrote them.
        batch: Samples of one step.
        losses: Mean training loss of each `steps_per_loss` steps, in order.
        steps_per_loss: Steps each of them spans.
        test_accuracies: Share of the held-out digits recognised after each epoch that ended, 0 to 1.
        epoch_s: Seconds of each of these epochs, without testing.
        interrupted: Whether it was cut short.
        notes: What a reader must know.
    """

    job: str
    device: str
    label: str
    source: str
    real: bool
    batch: int
    losses: tuple[float, ...]
    steps_per_loss: int
    test_accuracies: tuple[float, ...]
    epoch_s: tuple[float, ...]
    interrupted: bool = False
    notes: tuple[str, ...] = ()

    @property
    def test_accuracy(self) -> float | None:
        """Accuracy after the last epoch that ended; None if none did."""
        return self.test_accuracies[-1] if self.test_accuracies else None


def train_mnist(
    definition: Workload,
    epochs: int = 1,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    *,
    digits: Digits | None = None,
    batch: int | None = None,
    device: str = "cpu",
    seed: int = 0,
) -> TrainingResult:
    """Train the net of `definition` on digits and test it after each epoch.

    An epoch is `definition.samples_per_epoch` digits (60,000). Of a set that is smaller, each digit is drawn as often
    as that takes, turned and shifted a little anew each time; the result's notes say so. Ctrl-C ends at once with the
    losses so far.

    Args:
        definition: The job mnist, from `whichgpu.workloads.definition`.
        epochs: Passes, 1 or more.
        on_progress: Told every few steps.
        digits: What to train on; the best that can be had here by default.
        batch: Samples of one step; the job's own by default.
        device: "cpu", "cuda", "cuda:1" or "mps".
        seed: Of weights, order, dropout and turning.

    Raises:
        OptionError: If `epochs` or `batch` is not positive.
        MissingExtraError: If torch is not installed.
        MeasureError: If this machine lacks the device, or Ctrl-C came before the first losses.
    """
    require_count("Epochs are", epochs)
    batch = definition.batch if batch is None else batch
    require_count("Batch is", batch)
    target = Target.find(device, definition.name)
    digits = load_digits(on_progress) if digits is None else digits
    training = _Training(definition, target, digits, epochs, batch, seed, on_progress)
    processors, interrupted = ProcessorTime.now(), False
    try:
        for epoch in range(epochs):
            training.train(epoch)
            training.test(epoch)
    except KeyboardInterrupt:
        interrupted = True
        if not training.losses:
            raise MeasureError(f"{definition.name}: interrupted before {_TOLD_EVERY_STEPS} steps had ended.") from None
    return TrainingResult(
        job=definition.name,
        device=target.name,
        label=target.label,
        source=digits.source,
        real=digits.real,
        batch=batch,
        losses=tuple(training.losses),
        steps_per_loss=_TOLD_EVERY_STEPS,
        test_accuracies=tuple(training.accuracies),
        epoch_s=tuple(training.epoch_s),
        interrupted=interrupted,
        notes=(
            *_epoch_note(digits, definition.samples_per_epoch),
            *digits.notes,
            *target.notes,
            *crowding_note(processors, ProcessorTime.now(), target.threads),
        ),
    )


def _epoch_note(digits: Digits, samples_per_epoch: int) -> Iterator[str]:
    count = len(digits.train_labels)
    if count != samples_per_epoch:
        times = f"{samples_per_epoch / count:.3g}"
        yield f"An epoch is {samples_per_epoch:,} digits: each of the {count:,} is drawn {times} times."
    if digits.few:
        yield (
            f"Each time it is drawn a digit is turned by up to {_TURN_DEGREES:g} degrees and shifted by up to "
            f"{_SHIFT_PIXELS:g} pixels."
        )


class _Training:
    """A net, its optimizer and what has been seen so far."""

    def __init__(
        self,
        definition: Workload,
        target: Target,
        digits: Digits,
        epochs: int,
        batch: int,
        seed: int,
        tell: Callable[[Progress], None],
    ) -> None:
        import torch

        self.definition, self.target, self.digits, self.tell = definition, target, digits, tell
        self.epochs, self.batch = epochs, batch
        self.losses: list[float] = []
        self.accuracies: list[float] = []
        self.epoch_s: list[float] = []
        torch.manual_seed(seed)
        self.model = definition.model().to(target.device)
        self.optimizer = definition.optimizer(self.model)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, step_size=1, gamma=_LEARNING_RATE_FACTOR)
        self.images = self._normalised(digits.train_images)
        self.labels = torch.as_tensor(digits.train_labels).long().to(target.device)
        self.test_images = self._normalised(digits.test_images)
        self.test_labels = torch.as_tensor(digits.test_labels).long().to(target.device)

    def _normalised(self, images: object) -> torch.Tensor:
        import torch

        levels = torch.as_tensor(images).to(self.target.device).float().unsqueeze(1) / 255
        return (levels - _MEAN) / _DEVIATION

    def train(self, epoch: int) -> None:
        """Run one epoch and take its time."""
        import torch

        self.model.train()
        samples, begin = self.definition.samples_per_epoch, time.perf_counter()
        waiting: list[torch.Tensor] = []
        seen = 0
        for chosen in self._batches(samples):
            images = self.images[chosen]
            if self.digits.few:
                images = _turned(images)
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.definition.loss(self.model, (images, self.labels[chosen]))
            loss.backward()
            self.optimizer.step()
            waiting.append(loss.detach())
            seen += len(chosen)
            if len(waiting) == _TOLD_EVERY_STEPS or seen == samples:
                # Reading a loss waits for a GPU: once in a while, not every step.
                self.losses.append(float(torch.stack(waiting).mean()))
                waiting.clear()
                self._say("train", seen, samples, epoch, f"loss {self.losses[-1]:.4f}")
        self.target.synchronize()
        self.schedule.step()
        self.epoch_s.append(time.perf_counter() - begin)

    def _batches(self, samples: int) -> Iterator[torch.Tensor]:
        """Yield indices of batches, `samples` in all: permutations of the digits, one after the other."""
        import torch

        count = len(self.labels)
        passes = -(-samples // count)
        order = torch.cat([torch.randperm(count) for _ in range(passes)])[:samples].to(self.target.device)
        yield from order.split(self.batch)

    def test(self, epoch: int) -> None:
        """Take the share of held-out digits recognised."""
        import torch

        self.model.eval()
        right, count = 0, len(self.test_labels)
        with torch.no_grad():
            for images, labels in zip(
                self.test_images.split(_TEST_BATCH), self.test_labels.split(_TEST_BATCH), strict=True
            ):
                right += int((self.model(images).argmax(dim=1) == labels).sum())
        self.accuracies.append(right / count)
        self._say("test", count, count, epoch, f"test accuracy {right / count:.2%}")

    def _say(self, phase: Phase, done: int, total: int, epoch: int, message: str) -> None:
        whole = f"epoch {epoch + 1} of {self.epochs}, {message}"
        self.tell(Progress(phase, done, total, whole))


def _turned(images: torch.Tensor) -> torch.Tensor:
    """Return `images` (n, 1, 28, 28), each turned and shifted at random; what comes in at the edges is black."""
    import torch
    from torch.nn import functional

    n, _, height, width = images.shape
    angle = (torch.rand(n, device=images.device) * 2 - 1) * (_TURN_DEGREES * torch.pi / 180)
    shift = (torch.rand(n, 2, device=images.device) * 2 - 1) * (2 * _SHIFT_PIXELS / width)
    cos, sin = angle.cos(), angle.sin()
    rows = (torch.stack((cos, -sin, shift[:, 0]), dim=1), torch.stack((sin, cos, shift[:, 1]), dim=1))
    grid = functional.affine_grid(torch.stack(rows, dim=1), [n, 1, height, width], align_corners=False)
    black = -_MEAN / _DEVIATION
    # Outside the picture sampling gives 0, so black has to be 0 meanwhile.
    return functional.grid_sample(images - black, grid, align_corners=False) + black
