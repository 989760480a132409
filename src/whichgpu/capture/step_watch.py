"""Knowing, while a step runs, in which part of it and in which module it is, and what its storages hold."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.modules import module as module_hooks
from torch.optim import optimizer as optimizer_hooks

from whichgpu.capture.patches import Patches
from whichgpu.capture.phantom_tensor import PhantomTensor
from whichgpu.capture.sparse_tensor import SparsePhantom
from whichgpu.capture.storages import Storages
from whichgpu.graph import Phase


class StepWatch:
    """Hooks into modules, backward passes and optimizers.

    Attributes:
        optimizers: Every optimizer that has made a step.
        phase: The part of the step that runs now.
        roots: Every module that was called from outside of any other.
    """

    def __init__(self, storages: Storages) -> None:
        self.optimizers: list[torch.optim.Optimizer] = []
        self.roots: list[torch.nn.Module] = []
        self.phase: Phase = "forward"
        self._recorder: Any = None
        self._storages = storages
        self._paths: dict[int, str] = {}
        self._stack: list[str] = []
        self._patches = Patches()
        self._handles: list[Any] = []

    def __enter__(self) -> StepWatch:
        self._handles = [
            module_hooks.register_module_forward_pre_hook(self._enter_module),
            module_hooks.register_module_forward_hook(self._leave_module, always_call=True),
            optimizer_hooks.register_optimizer_step_pre_hook(self._enter_optimizer),
            optimizer_hooks.register_optimizer_step_post_hook(self._leave_optimizer),
        ]
        for name in ("backward", "grad"):
            self._patches.set(torch.autograd, name, self._in_backward_phase(getattr(torch.autograd, name)))
        for owner, name in (
            (torch.optim.Optimizer, "zero_grad"),
            (torch.amp.GradScaler, "unscale_"),
            (torch.amp.GradScaler, "step"),
            (torch.amp.GradScaler, "update"),
        ):
            self._patches.set(owner, name, self._in_optimizer_phase(getattr(owner, name)))
        return self

    def __exit__(self, *error: object) -> None:
        self._patches.undo()
        for handle in self._handles:
            handle.remove()

    def tell(self, recorder: Any) -> None:
        """From now on tell `recorder` where the step is; None ends that. It may begin in the middle of a step."""
        self._recorder = recorder
        if recorder is not None:
            recorder.phase = self.phase
            recorder.module = self._stack[-1] if self._stack else ""

    def is_in_module(self) -> bool:
        """Return whether a module runs now."""
        return bool(self._stack)

    def mark_residents(self) -> None:
        """Note what is known of the storages that live now."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    self._mark(parameter, "parameter")
            for state in optimizer.state.values():
                for value in state.values() if isinstance(state, dict) else ():
                    self._mark(value, "optimizer_state")
        for root in self.roots:
            for parameter in root.parameters():
                self._mark(parameter, "parameter")
            for buffer in root.buffers():
                self._mark(buffer, "buffer")
        self.mark_gradients()

    def mark_gradients(self) -> None:
        """Note which storages hold gradients now."""
        for parameter in self._parameters():
            if parameter.grad is not None:
                self._mark(parameter.grad, "gradient")

    def _parameters(self) -> Any:
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                yield from group["params"]
        for root in self.roots:
            yield from root.parameters()

    def _mark(self, value: Any, kind: Any) -> None:
        if isinstance(value, PhantomTensor):
            self._storages.mark(value, kind)
        elif isinstance(value, SparsePhantom):
            for part in value.matrix.parts.values():
                self._storages.mark(part, kind)

    def _go(self, phase: Phase) -> Phase:
        before, self.phase = self.phase, phase
        if self._recorder is not None:
            self._recorder.phase = phase
        return before

    def _in_backward_phase(self, function: Any) -> Any:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            before = self._go("backward")
            try:
                return function(*args, **kwargs)
            finally:
                self._go(before)
                if self._recorder is not None:
                    self._recorder.was_backward = True
                self.mark_gradients()

        return wrapped

    def _in_optimizer_phase(self, function: Any) -> Any:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            before = self._go("optimizer")
            try:
                return function(*args, **kwargs)
            finally:
                self._go(before)

        return wrapped

    def _enter_module(self, module: torch.nn.Module, args: Any) -> None:
        path = self._paths.get(id(module))
        if path is None:
            path = ""
            if not self._stack:
                self.roots.append(module)
                for name, child in module.named_modules():
                    self._paths.setdefault(id(child), name)
        self._stack.append(path)
        if self._recorder is not None:
            self._recorder.module = path

    def _leave_module(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        self._stack.pop()
        if self._recorder is not None:
            self._recorder.module = self._stack[-1] if self._stack else ""

    def _enter_optimizer(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if not any(optimizer is o for o in self.optimizers):
            self.optimizers.append(optimizer)
        self.mark_gradients()
        self._before_step = self._go("optimizer")

    def _leave_optimizer(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self._go(self._before_step)
