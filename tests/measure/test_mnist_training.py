"""Training on digits: what an epoch is, that the net learns, interruption."""

from __future__ import annotations

import pytest

from whichgpu.errors import MeasureError, OptionError
from whichgpu.measure import Digits, Progress, train_mnist
from whichgpu.measure.mnist_digits import synthetic_digits

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("this_is_acme")


class SmallNet:
    """A job of the shape of mnist with a net that trains in a second."""

    name = "mnist"
    batch = 50
    samples_per_epoch = 3000

    def model(self) -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.Flatten(),
            torch.nn.Linear(784, 64),
            torch.nn.ReLU(),
            torch.nn.Linear(64, 10),
            torch.nn.LogSoftmax(1),
        )

    def optimizer(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), lr=2e-3)

    def loss(self, model: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        images, labels = inputs
        assert images.shape == (len(labels), 1, 28, 28)
        return torch.nn.functional.nll_loss(model(images), labels)


@pytest.fixture(scope="module")
def digits() -> Digits:
    return synthetic_digits(1000, 200)


def test_the_net_learns_and_the_result_tells_what_was_done(digits: Digits) -> None:
    told: list[Progress] = []
    result = train_mnist(SmallNet(), 3, told.append, digits=digits)
    assert (result.job, result.device, result.batch) == ("mnist", "Acme CPU 1000", 50)
    assert not result.real
    assert "made-up" in result.source
    assert len(result.test_accuracies) == len(result.epoch_s) == 3
    assert result.test_accuracy == result.test_accuracies[-1] > 0.5  # one in ten by chance
    assert len(result.losses) * result.steps_per_loss == 3 * 3000 / 50
    assert result.losses[-1] < 0.6 * result.losses[0]
    assert all(0 < s < 60 for s in result.epoch_s)
    assert "An epoch is 3,000 digits: each of the 1,000 is drawn 3 times." in result.notes
    assert any("turned by up to 12 degrees" in n for n in result.notes)
    trained = [p for p in told if p.phase == "train"]
    assert (trained[-1].done, trained[-1].total) == (3000, 3000)
    assert trained[-1].message.startswith("epoch 3 of 3, loss ")
    assert next(p.message for p in told if p.phase == "test").startswith("epoch 1 of 3, test accuracy ")


def test_an_epoch_draws_every_digit_equally_often(digits: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = torch.zeros(10)

    class Counting(SmallNet):
        samples_per_epoch = 2000

        def loss(self, model: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
            seen.add_(torch.bincount(inputs[1], minlength=10))
            return super().loss(model, inputs)

    train_mnist(Counting(), digits=digits)
    assert seen.tolist() == (2 * torch.bincount(torch.as_tensor(digits.train_labels).long(), minlength=10)).tolist()


def test_a_large_set_is_neither_turned_nor_repeated(digits: Digits) -> None:
    from dataclasses import replace

    class Whole(SmallNet):
        samples_per_epoch = 1000

        def loss(self, model: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
            levels = inputs[0] * 0.3081 + 0.1307
            assert torch.allclose(levels * 255, (levels * 255).round(), atol=1e-3)  # still whole grey levels
            return super().loss(model, inputs)

    result = train_mnist(Whole(), digits=replace(digits, few=False))
    assert not [n for n in result.notes if "epoch" in n or "turned" in n]


def test_the_same_seed_gives_the_same_losses(digits: Digits) -> None:
    first, second, other = (train_mnist(SmallNet(), digits=digits, seed=s).losses for s in (1, 1, 2))
    assert first == pytest.approx(second, rel=1e-3)
    assert first != pytest.approx(other, rel=1e-3)


def test_ctrl_c_keeps_the_losses(digits: Digits) -> None:
    def tell(progress: Progress) -> None:
        if progress.phase == "train" and progress.done >= 2000:
            raise KeyboardInterrupt

    result = train_mnist(SmallNet(), 5, tell, digits=digits)
    assert result.interrupted
    assert len(result.losses) == 2
    assert result.test_accuracy is None
    assert result.epoch_s == ()


def test_ctrl_c_before_anything(digits: Digits) -> None:
    class Stopped(SmallNet):
        def loss(self, model: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
            raise KeyboardInterrupt

    with pytest.raises(MeasureError, match="interrupted before 20 steps had ended"):
        train_mnist(Stopped(), digits=digits)


@pytest.mark.parametrize(("options", "message"), [({"epochs": 0}, "Epochs are 0"), ({"batch": -1}, "Batch is -1")])
def test_bad_options_are_refused(digits: Digits, options: dict[str, int], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        train_mnist(SmallNet(), digits=digits, **options)
