"""The phantom GPU: a CUDA device of shapes and dtypes for a torch that has none."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

# Optimizers import it on first use; it looks at torch.cuda then and must find the real one.
import torch._dynamo
from torch.optim import optimizer
from torch.utils import _device, _foreach_utils
from torch.utils.data._utils import pin_memory

from whichgpu.capture import (
    cuda_facade,
    cuda_kernels,
    dense_gradients,
    modules,
    parameter_classes,
    phantom_tensor,
    saving,
    sparse_making,
    tensor_types,
    threads,
)
from whichgpu.capture.autocast import Autocast
from whichgpu.capture.device_class import device_class
from whichgpu.capture.fake_device import FakeDevice
from whichgpu.capture.function_mode import PhantomFunctions, device_type
from whichgpu.capture.patches import Patches
from whichgpu.capture.phantom_tensor import CUDA, PhantomTensor


class Phantom:
    """One phantom GPU, switched on.

    Attributes:
        device: Its dispatcher.
        compiles: Whether the program asked for torch.compile.
        notes: What it had to leave out, for the reader of a result.
    """

    def __init__(self) -> None:
        self.compiles = False
        self.device = FakeDevice()
        self.functions = PhantomFunctions(self.device)
        self.notes = self.device.notes

    def tell(self, note: str) -> None:
        """Note something for the reader of a result, once."""
        self.device.tell(note)


# The phantom GPUs switched on, innermost last; a nested context uses the one there is.
_active: list[Phantom] = []


def active_phantom() -> Phantom | None:
    """Return the phantom GPU that is switched on, or None."""
    return _active[-1] if _active else None


@contextmanager
def switched_on() -> Iterator[Phantom]:
    """Give torch a CUDA device of shapes and dtypes; on leaving, torch is as it was."""
    if _active:
        yield _active[-1]
        return
    phantom = Phantom()
    patches = Patches()
    library = torch.library.Library("aten", "IMPL")
    autocast = Autocast()
    undo: list[Callable[[], None]] = []
    only_lifts_cpu = torch._C._only_lift_cpu_tensors()
    try:
        _active.append(phantom)
        phantom_tensor.active_dispatch = phantom.device.__torch_dispatch__
        cuda_facade.install(patches, phantom.device, phantom.tell)
        tensor_types.install(patches)
        undo.append(saving.install(patches, phantom.device.storages.note))
        threads.install(patches, phantom.functions, phantom.device)
        modules.install(patches)
        parameter_classes.install(patches)
        dense_gradients.install(patches)
        sparse_making.install(patches, phantom.device)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Warning only once for all operators")
            autocast.install(library)
            cuda_kernels.install(library)
        _install_torch(patches, phantom, autocast)
        torch._C._set_only_lift_cpu_tensors(True)
        with phantom.functions, phantom.device:
            yield phantom
    finally:
        if _device.CURRENT_DEVICE is not None and device_type(_device.CURRENT_DEVICE) == "cuda":
            # The program's own choice, which nothing can follow from here on.
            torch.set_default_device(None)
        torch._C._set_only_lift_cpu_tensors(only_lifts_cpu)
        patches.undo()
        for function in undo:
            function()
        autocast.clear()
        library._destroy()
        phantom_tensor.active_dispatch = None
        _active.remove(phantom)


def fuses(backend: Any = "inductor", disable: bool = False, **kwargs: Any) -> bool:
    """Return whether a call of torch.compile with these options makes kernels of its own."""
    return not disable and backend not in ("eager", "aot_eager")


def _install_torch(patches: Patches, phantom: Phantom, autocast: Autocast) -> None:
    patches.set(
        torch,
        "clear_autocast_cache",
        _then(torch.clear_autocast_cache, autocast.clear),
    )
    patches.set(torch, "device", device_class(lambda number: torch._C.device("cuda", number)))
    plain_backward = torch.autograd._engine_run_backward

    def run_backward(*args: Any, **kwargs: Any) -> Any:
        # Tensor.backward is called with function modes off, yet checkpoints run forward code inside it.
        if torch.overrides._get_current_function_mode() is phantom.functions:
            return plain_backward(*args, **kwargs)
        with phantom.functions:
            return plain_backward(*args, **kwargs)

    patches.set(torch.autograd, "_engine_run_backward", run_backward)
    patches.set(_foreach_utils, "_foreach_supported_types", [*_foreach_utils._foreach_supported_types, PhantomTensor])
    patches.set(optimizer, "_foreach_supported_types", [*optimizer._foreach_supported_types, PhantomTensor])
    plain_group = torch._C._group_tensors_by_device_and_dtype

    def group(lists: Any, with_indices: bool = False) -> Any:
        return {
            (CUDA if device.type == "meta" else device, dtype): tensors
            for (device, dtype), tensors in plain_group(lists, with_indices).items()
        }

    patches.set(torch._C, "_group_tensors_by_device_and_dtype", group)

    # The thread that pins batches of a DataLoader knows nothing of function modes.
    patches.set(pin_memory, "pin_memory", lambda data, device=None: data)

    def compile_nothing(model: Any = None, **kwargs: Any) -> Any:
        if fuses(**kwargs):
            phantom.compiles = True
            phantom.tell("torch.compile is asked for: the whole step is priced as compiled.")
        return model if model is not None else (lambda function: function)

    patches.set(torch, "compile", compile_nothing)


def _then(first: Callable[[], Any], second: Callable[[], Any]) -> Callable[[], Any]:
    def both() -> Any:
        second()
        return first()

    return both
