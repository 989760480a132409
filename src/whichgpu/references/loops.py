"""The loops around a model: what benchmarks time as one step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from whichgpu.graph import precision as precision_named
from whichgpu.references.reference import Reference, Step

if TYPE_CHECKING:
    import torch

Batch = tuple[Any, ...]
Inputs = Callable[[int], Batch]
Forward = Callable[[Any, Batch], Any]
Optimizer = Callable[[Iterable[Any]], Any]


def placed(model: torch.nn.Module, reference: Reference) -> torch.nn.Module:
    """Return `model` on the device, in the dtypes and the layout of `reference`, in the mode its task wants."""
    import torch

    model = model.cuda()
    if _is_o2(reference):
        _halve(model)
    else:
        weights = precision_named(reference.precision).weights
        if weights != "float32":
            model = model.to(getattr(torch, weights))
    if reference.layout == "channels_last":
        model = model.to(memory_format=torch.channels_last)
    return model.train(reference.task != "infer")


def images(batch: int, reference: Reference) -> torch.Tensor:
    """Return a batch of images (n, *sample) in the dtype and layout of `reference`."""
    import torch

    dtype = torch.float16 if _is_o2(reference) else getattr(torch, precision_named(reference.precision).weights)
    found = torch.empty(batch, *reference.sample, device="cuda", dtype=dtype)
    return found.to(memory_format=torch.channels_last) if reference.layout == "channels_last" else found


def step_maker(
    model: torch.nn.Module,
    reference: Reference,
    inputs: Inputs,
    forward: Forward,
    optimizer: Optimizer | None = None,
    clears_gradients: bool = True,
) -> Callable[[int], Step]:
    """Return what makes steps: inference, forward and backward, or training by the recipe of `reference`.

    Args:
        model: What `placed` returned.
        reference: The job.
        inputs: From a batch size to a batch on the device.
        forward: From the model and a batch to the loss (a scalar), or to anything where the task is inference.
        optimizer: From parameters to an optimizer over them; not needed where nothing is updated.
        clears_gradients: Whether clearing gradients lies inside of the step that is timed.
    """
    if reference.task == "infer":
        return _inference(model, reference, inputs, forward)
    if reference.task == "gradients" or optimizer is None:
        return _gradients(model, reference, inputs, forward)
    if _is_o2(reference):
        return _o2_training(model, inputs, forward, optimizer)
    return _training(model, reference, inputs, forward, optimizer, clears_gradients)


def _inference(model: Any, reference: Reference, inputs: Inputs, forward: Forward) -> Callable[[int], Step]:
    import torch

    def at(batch: int) -> Step:
        data = inputs(batch)

        def step() -> None:
            with torch.no_grad(), _autocast(reference):
                forward(model, data)

        return step

    return at


def _gradients(model: Any, reference: Reference, inputs: Inputs, forward: Forward) -> Callable[[int], Step]:
    def at(batch: int) -> Step:
        data = inputs(batch)

        def step() -> None:
            with _autocast(reference):
                loss = forward(model, data)
            loss.backward()

        return step

    return at


def _training(
    model: Any, reference: Reference, inputs: Inputs, forward: Forward, optimizer: Optimizer, clears: bool
) -> Callable[[int], Step]:
    import torch

    updates = optimizer(model.parameters())
    if reference.torch_major < 2:
        for group in updates.param_groups:
            group["foreach"] = False
    scaler = torch.amp.GradScaler("cuda") if reference.recipe == "autocast-scaled" else None

    def clear() -> None:
        if reference.torch_major >= 2:
            updates.zero_grad()
        elif clears:
            updates.zero_grad(set_to_none=False)

    def at(batch: int) -> Step:
        data = inputs(batch)

        def step() -> None:
            clear()
            with _autocast(reference):
                loss = forward(model, data)
            if scaler is None:
                loss.backward()
                updates.step()
            else:
                scaler.scale(loss).backward()
                scaler.step(updates)
                scaler.update()

        return step

    return at


def _o2_training(model: Any, inputs: Inputs, forward: Forward, optimizer: Optimizer) -> Callable[[int], Step]:
    """Return steps of a model in float16 with float32 master weights, as apex's multi-tensor kernels do them.

    Gradients are unscaled into float32 ones and checked for infinities in one sweep, the optimizer works on the master
    weights, and one sweep copies them back.
    """
    import torch

    weights = [p for p in model.parameters() if p.requires_grad]
    masters = [torch.nn.Parameter(p.detach().float()) for p in weights]
    updates = optimizer(masters)
    scale, inverse = (torch.ones((), device="cuda") for _ in range(2))

    def at(batch: int) -> Step:
        data = inputs(batch)

        def step() -> None:
            for weight in weights:
                weight.grad = None
            (forward(model, data).float() * scale).backward()
            with torch.no_grad():
                used = [(w, m) for w, m in zip(weights, masters, strict=True) if w.grad is not None]
                gradients = [torch.empty_like(m) for _, m in used]
                torch._foreach_copy_(gradients, [w.grad for w, _ in used])
                torch._amp_foreach_non_finite_check_and_unscale_(gradients, torch.zeros((), device="cuda"), inverse)
                for (_, master), gradient in zip(used, gradients, strict=True):
                    master.grad = gradient
                updates.step()
                torch._foreach_copy_(weights, masters)

        return step

    return at


def _halve(model: torch.nn.Module) -> None:
    """Turn all of a model but its batch norms to float16, as apex does."""
    import torch

    norms = torch.nn.modules.batchnorm._BatchNorm
    for module in model.modules():
        if isinstance(module, norms):
            continue
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if tensor.is_floating_point():
                tensor.data = tensor.data.half()


def _is_o2(reference: Reference) -> bool:
    return reference.recipe == "o2" and precision_named(reference.precision).autocast is not None


def _autocast(reference: Reference) -> AbstractContextManager[Any]:
    import torch

    dtype = precision_named(reference.precision).autocast
    return nullcontext() if dtype is None else torch.autocast("cuda", dtype=getattr(torch, dtype))
