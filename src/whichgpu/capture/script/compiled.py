"""torch.compile in a script: nothing is compiled, but what the compiled code would have run is told from the rest."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from whichgpu.capture.patches import Patches
from whichgpu.capture.phantom import fuses

# The step counts as compiled if so much of what it trains was called through compiled code.
_MOST = 0.5
PARTLY = (
    "torch.compile is asked for functions, or for models of which a step trains little: it is priced as eager PyTorch "
    "runs it."
)


class Compiled:
    """Which weights were called with gradients through what torch.compile gave back.

    A library may compile helpers of its own when it is imported, and a model may be compiled that is never called.

    Attributes:
        depth: How many compiled functions are being called.
    """

    def __init__(self) -> None:
        self.depth = 0
        self._is_asked = False
        self._reached: set[int] = set()

    def install(self, patches: Patches) -> None:
        """Let torch.compile give back what calls the plain model or function, and is watched."""

        def compile_nothing(model: Any = None, *args: Any, **kwargs: Any) -> Any:
            if model is None:
                return lambda function: compile_nothing(function, *args, **kwargs)
            return self._compiled(model, patches) if fuses(**kwargs) else model

        patches.set(torch, "compile", compile_nothing)

    def reach(self, module: torch.nn.Module) -> None:
        """Note that a model is called with gradients by compiled code."""
        self._reached.update(map(id, module.parameters()))

    def covers(self, trained: Iterable[torch.Tensor], called: Iterable[torch.nn.Module]) -> bool:
        """Return whether most of what is trained was reached.

        Args:
            trained: What optimizers update.
            called: Models that were called in training mode.
        """
        if not self._reached:
            return False
        of_models = {id(p): p.numel() for module in called for p in module.parameters()}
        counts = {id(p): of_models[id(p)] for p in trained if id(p) in of_models}
        # Optimizers may hold copies of the weights, or there may be none.
        reached = sum(count for number, count in counts.items() if number in self._reached)
        return not counts or reached >= _MOST * sum(counts.values())

    def is_partial(self, covers: bool) -> bool:
        """Return whether something compiled was called with gradients, though not most of what is trained."""
        return self._is_asked and not covers

    def _compiled(self, model: Any, patches: Patches) -> Any:
        """Return what torch.compile would: of a model the wrapper that has its attributes, calls of which count."""
        # torch brings its compiler only where something is compiled.
        from torch._dynamo.eval_frame import OptimizedModule

        if isinstance(model, torch.nn.Module):
            if OptimizedModule._initialize is not _call_plainly:
                patches.set(OptimizedModule, "_initialize", _call_plainly)
            return OptimizedModule(model, _Context(self, model))
        # What nn.Module.compile() compiles is a method of a model.
        owner = getattr(model, "__self__", None)
        return self.watched(model, owner if isinstance(owner, torch.nn.Module) else None)

    def watched(self, plain: Callable[..., Any], module: torch.nn.Module | None) -> Callable[..., Any]:
        """Return `plain`, whose calls are those of compiled code; `module` is the model they reach, if it is known."""

        @functools.wraps(plain)
        def call(*args: Any, **kwargs: Any) -> Any:
            if not torch.is_grad_enabled():
                return plain(*args, **kwargs)
            self._is_asked = True
            # Of a method that was compiled in its class the first argument is the model.
            reached = module if module is not None else args[0] if args else None
            if isinstance(reached, torch.nn.Module):
                self.reach(reached)
            with self._inside():
                return plain(*args, **kwargs)

        return call

    @contextmanager
    def _inside(self) -> Iterator[None]:
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1


def _call_plainly(wrapper: Any) -> None:
    """Let the wrapper of a compiled model call the model as it is.

    torch would look the model up among all functions it knows, and some of those are replaced here.
    """
    wrapper.forward = wrapper.dynamo_ctx(wrapper._orig_mod.__call__)


class _Context:
    """Stands for what wraps the functions of a compiled model."""

    def __init__(self, compiled: Compiled, model: torch.nn.Module) -> None:
        self._compiled = compiled
        self._model = model

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return self._compiled.watched(function, self._model)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Context:
        # A copy of a compiled model is watched by the same.
        return _Context(self._compiled, memo.get(id(self._model), self._model))
