"""What a built-in job is: a model, its optimizer, a batch and a loss, in torch, on any device."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from whichgpu.errors import MissingExtraError, OptionError, require_count
from whichgpu.graph import Precision
from whichgpu.graph import precision as precision_named

if TYPE_CHECKING:
    import torch


class _Built(NamedTuple):
    model: torch.nn.Module
    inputs: tuple[torch.Tensor, ...]
    autocast: AbstractContextManager[Any]
    precision: Precision
    device_type: str


class Workload(ABC):
    """The definition of one training job; its docstring tells what is trained and what is left out.

    Attributes:
        name: What a person types.
        title: What a table is headed with.
        batch: Samples of one step, unless asked otherwise.
        precision: What it trains in on a GPU, unless asked otherwise.
        precisions: All it can train in; each has a shipped graph (fp32 and tf32 share one).
        layouts: Memory formats of its images, the default first; ("",) where the question does not arise.
        samples_per_epoch: Of its data set.
        sample: What one sample is.
        requires: What its model is built with beside torch, as "package.member".
        clip_norm: Norm the gradients are clipped to before an update, or None.
        sets_own_dtypes: Whether `model` gives its parameters the dtypes they train in, rather than the precision.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    batch: ClassVar[int]
    precision: ClassVar[str]
    precisions: ClassVar[tuple[str, ...]] = ("fp32", "tf32", "amp-fp16", "amp-bf16")
    layouts: ClassVar[tuple[str, ...]] = ("",)
    samples_per_epoch: ClassVar[int]
    sample: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()
    clip_norm: ClassVar[float | None] = None
    sets_own_dtypes: ClassVar[bool] = False

    @abstractmethod
    def model(self) -> torch.nn.Module:
        """Return the model with random weights, in training mode, on torch's default device."""

    @abstractmethod
    def optimizer(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer over the parameters of `model` that are trained."""

    @abstractmethod
    def inputs(self, batch: int) -> tuple[torch.Tensor, ...]:
        """Return one made-up batch of `batch` samples on the CPU, of the shapes and dtypes of the real data."""

    @abstractmethod
    def loss(self, model: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return the loss of one batch, a scalar tensor."""

    @property
    def layout(self) -> str:
        """The memory format unless asked otherwise."""
        return self.layouts[0]

    def training_step(
        self,
        batch: int,
        device: str = "cpu",
        precision: str | None = None,
        layout: str | None = None,
        *,
        compiled: bool = False,
    ) -> Callable[[], Any]:
        """Return a zero-argument function that does one optimizer step and returns its loss, a scalar tensor.

        The step clears the gradients, runs forward and backward (under autocast and a gradient scaler where the
        precision says so) and updates the weights. Its batch lies on `device` from the beginning, so neither
        loading nor copying data is part of it.

        Args:
            batch: Samples of one step, 1 or more.
            device: Any torch device, "cuda" of the phantom GPU among them.
            precision: A name of `whichgpu.graph.PRECISIONS`; the job's own by default.
            layout: One of `layouts`; the first by default.
            compiled: Whether `torch.compile` makes the kernels of the model.

        Raises:
            OptionError: If `batch` or `layout` is not one the job has.
            MissingExtraError: If torch or the package the model comes from is not installed.
        """
        built = self._built(batch, device, precision, layout, compiled)
        import torch

        model, inputs, autocast = built.model, built.inputs, built.autocast
        optimizer = self.optimizer(model)
        scaler = torch.amp.GradScaler(built.device_type) if built.precision.loss_scaling else None

        def step() -> torch.Tensor:
            optimizer.zero_grad(set_to_none=True)
            with autocast:
                loss = self.loss(model, inputs)
            if scaler is None:
                loss.backward()
            else:
                scaler.scale(loss).backward()
            if self.clip_norm is not None:
                if scaler is not None:
                    scaler.unscale_(optimizer)
                torch.nn.utils.clip_grad_norm_(model.parameters(), self.clip_norm)
            if scaler is None:
                optimizer.step()
            else:
                scaler.step(optimizer)
                scaler.update()
            return loss.detach()

        return step

    def inference_step(
        self,
        batch: int,
        device: str = "cpu",
        precision: str | None = None,
        layout: str | None = None,
        *,
        compiled: bool = False,
    ) -> Callable[[], Any]:
        """Return a zero-argument function that runs the model in evaluation mode, without gradients, up to the loss.

        Args:
            batch: As in `training_step`.
            device: As in `training_step`.
            precision: As in `training_step`.
            layout: As in `training_step`.
            compiled: As in `training_step`.

        Raises:
            OptionError: As `training_step`.
            MissingExtraError: As `training_step`.
        """
        built = self._built(batch, device, precision, layout, compiled)
        import torch

        model, inputs, autocast = built.model.eval(), built.inputs, built.autocast

        def step() -> torch.Tensor:
            with torch.no_grad(), autocast:
                return self.loss(model, inputs)

        return step

    def _built(self, batch: int, device: str, precision: str | None, layout: str | None, compiled: bool) -> _Built:
        """Return the model and one batch on `device`."""
        wanted = precision_named(precision or self.precision)
        layout = self.layout if layout is None else layout
        self.check_options(batch, wanted.name, layout)
        self.check_installed()
        import torch

        # Not inside `with target`: packages load lazily and make tensors of their own when they do.
        for required in self.requires:
            package, _, member = required.rpartition(".")
            getattr(importlib.import_module(package), member)
        target = torch.device(device)
        # Built where it will live: an eight-billion-parameter model must not pass through this machine's memory.
        with target:
            model = self.model()
        model = model.to(target)
        if not self.sets_own_dtypes and wanted.weights != "float32":
            model = model.to(getattr(torch, wanted.weights))
        inputs = tuple(t.to(target) for t in self.inputs(batch))
        if wanted.autocast is None and wanted.weights != "float32":
            inputs = tuple(t.to(getattr(torch, wanted.weights)) if t.is_floating_point() else t for t in inputs)
        if layout == "channels_last":
            model = model.to(memory_format=torch.channels_last)
            inputs = tuple(t.to(memory_format=torch.channels_last) if t.dim() == 4 else t for t in inputs)
        reduced = getattr(torch, wanted.autocast) if wanted.autocast else None
        autocast = nullcontext() if reduced is None else torch.autocast(target.type, dtype=reduced)
        return _Built(torch.compile(model) if compiled else model, inputs, autocast, wanted, target.type)

    def check_options(self, batch: int, precision: str, layout: str) -> None:
        """Raise OptionError if the job does not have such a batch, precision or layout."""
        require_count("Batch is", batch)
        if precision not in self.precisions:
            raise OptionError(f"{self.name} has no precision {precision!r}; it has {', '.join(self.precisions)}.")
        if layout not in self.layouts:
            has = ", ".join(self.layouts) if self.layouts != ("",) else "none to choose from"
            raise OptionError(f"{self.name} has no layout {layout!r}; it has {has}.")

    def check_installed(self) -> None:
        """Raise MissingExtraError if torch or a package the model comes from is not installed."""
        from importlib.util import find_spec

        for package in ("torch", *(required.partition(".")[0] for required in self.requires)):
            if find_spec(package) is None:
                raise MissingExtraError(package, "torch" if package == "torch" else "jobs", f"train {self.name}")
