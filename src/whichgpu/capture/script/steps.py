"""Where a step of an unknown training script ends.

A step is one cycle over all optimizers: it ends with the one that steps last and least often. Where no optimizer is
made, the backward call ends it; where the user names a function, its return does.
"""

from __future__ import annotations

import functools
import weakref
from types import ModuleType
from typing import Any

import torch
from torch.optim import optimizer as optimizer_hooks

from whichgpu.capture.patches import Patches
from whichgpu.capture.script import marked_function, when_imported
from whichgpu.capture.script.watch import ScriptWatch

# Steps of some optimizers, after which others that were made are no longer waited for. A critic that is trained
# five times as often as its generator is within it.
_PATIENCE = 16
# Backward calls without a step of any optimizer, after which they end the steps: more than anybody accumulates.
_MOST_ACCUMULATED = 512

NO_OPTIMIZER = "The script uses no torch optimizer: a step ends where a backward pass does."
IDLE_OPTIMIZER = "An optimizer of the script makes no steps, at least not as often as others: it is left out."


class StepEnds:
    """Finds the ends of steps and tells a `ScriptWatch`.

    Args:
        watch: Told at the end of every step.
        marker: "module:function" if the user named what ends a step.
        optimizers: How many optimizers a step is known to run through; 0 to find out.
    """

    def __init__(self, watch: ScriptWatch, marker: str = "", optimizers: int = 0) -> None:
        self._watch = watch
        self._marker = marker
        self._known = optimizers
        self._made: list[weakref.ref[torch.optim.Optimizer]] = []
        self._stepped: list[torch.optim.Optimizer] = []
        self._last: torch.optim.Optimizer | None = None
        self._waited = 0
        self._backward_calls = 0
        self._handles: list[Any] = []

    def install(self, patches: Patches) -> None:
        """Hook into optimizers, backward passes or the function named."""
        plain = torch.optim.Optimizer.__init__

        @functools.wraps(plain)
        def init(optimizer: Any, *args: Any, **kwargs: Any) -> None:
            plain(optimizer, *args, **kwargs)
            self._made.append(weakref.ref(optimizer))

        patches.set(torch.optim.Optimizer, "__init__", init)
        when_imported.install(patches, {"fastai.optimizer": lambda module: self._watch_fastai(patches, module)})
        self._handles = [
            optimizer_hooks.register_optimizer_step_pre_hook(self._before_optimizer),
            optimizer_hooks.register_optimizer_step_post_hook(self._after_optimizer),
        ]
        plain_backward = self._watch.on_backward

        def on_backward() -> None:
            plain_backward()
            self._after_backward()

        self._watch.on_backward = on_backward  # type: ignore[method-assign]
        if self._marker:
            marked_function.install(patches, self._marker, self._after_function)

    def _watch_fastai(self, patches: Patches, module: ModuleType) -> None:
        """Watch the optimizers of fastai, which are none of torch's and have no hooks."""
        owner = module.Optimizer
        plain_init, plain_step = owner.__init__, owner.step

        def init(optimizer: Any, *args: Any, **kwargs: Any) -> None:
            plain_init(optimizer, *args, **kwargs)
            self._made.append(weakref.ref(optimizer))

        def step(optimizer: Any, *args: Any, **kwargs: Any) -> None:
            self._before_optimizer(optimizer, args, kwargs)
            plain_step(optimizer, *args, **kwargs)
            self._after_optimizer(optimizer, args, kwargs)

        patches.set(owner, "__init__", functools.wraps(plain_init)(init))
        patches.set(owner, "step", functools.wraps(plain_step)(step))

    def remove(self) -> None:
        """Take the hooks away that are no patches."""
        for handle in self._handles:
            handle.remove()

    def _after_function(self) -> None:
        if self._watch.is_here:
            self._watch.seen.marker = "function"
            self._watch.end_step()

    def _before_optimizer(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self._watch.in_optimizer = True

    def _after_optimizer(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self._watch.in_optimizer = False
        if not self._watch.is_here or not self._learned(optimizer):
            return
        self._watch.interval.optimizer_steps += 1
        if not any(optimizer is o for o in self._stepped) and self._brings_weights(optimizer):
            self._note_new(optimizer)
        if self._marker:
            return
        if self._last is None:
            self._waited += 1
            if self._is_waiting() and self._waited < _PATIENCE:
                return
            if self._is_waiting():
                self._watch.seen.tell(IDLE_OPTIMIZER)
            self._last = self._stepped[-1] if not self._is_waiting() else optimizer
        if optimizer is self._last:
            self._watch.seen.marker = "optimizers" if len(self._stepped) > 1 else "optimizer"
            self._watch.end_step()

    def _learned(self, optimizer: torch.optim.Optimizer) -> bool:
        """Return whether a step had gradients to go by: schedules are drawn, and caught up with, by steps without."""
        return self._watch.interval.backward_calls > 0 or any(p.grad is not None for p in _weights(optimizer))

    def _note_new(self, optimizer: torch.optim.Optimizer) -> None:
        self._stepped.append(optimizer)
        self._watch.seen.optimizers.append(type(optimizer).__name__)
        if self._last is not None or self._watch.seen.marker == "backward":
            # The cycle is longer than it seemed.
            self._last = None
            self._waited = 0
            self._watch.restart(in_a_step=self._watch.seen.marker == "backward")
            # One that is made at its first step comes after the first backward pass.
            self._watch.seen.notes[:] = [n for n in self._watch.seen.notes if n != NO_OPTIMIZER]

    def _brings_weights(self, optimizer: torch.optim.Optimizer) -> bool:
        """Return whether `optimizer` updates anything that none of those that stepped does: no wrapper of one."""
        known = {id(p) for o in self._stepped for p in _weights(o)}
        return any(id(p) not in known for p in _weights(optimizer))

    def _is_waiting(self) -> bool:
        """Return whether an optimizer that was made, or is known to come, has not stepped yet."""
        if len(self._stepped) < self._known:
            return True
        made = (reference() for reference in self._made)
        return any(o is not None and self._brings_weights(o) for o in made)

    def trained(self) -> list[torch.Tensor]:
        """Return what the optimizers that stepped update."""
        return [weight for optimizer in self._stepped for weight in _weights(optimizer)]

    @property
    def weights(self) -> int:
        """How many numbers the optimizers that stepped update."""
        return sum(weight.numel() for weight in self.trained())

    def expects_another(self) -> bool:
        """Return whether a model that is called could be trained and no optimizer made so far does it."""
        if self._marker or not self._stepped:
            return False
        made = (reference() for reference in self._made)
        held = {id(p) for o in made if o is not None for p in _weights(o)}
        for module in list(self._watch.called):
            trainable = [id(p) for p in module.parameters() if p.requires_grad]
            if module.training and trainable and held.isdisjoint(trainable):
                return True
        return False

    def _after_backward(self) -> None:
        if self._marker or self._stepped or self._watch.in_optimizer:
            return
        self._backward_calls += 1
        if self._backward_calls < _MOST_ACCUMULATED and any(r() is not None for r in self._made):
            return
        self._watch.seen.marker = "backward"
        self._watch.seen.tell(NO_OPTIMIZER)
        self._watch.end_step()


def _weights(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
