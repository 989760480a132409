"""The phantom GPU's dispatcher: answers every operator on it with tensors of the right shape, dtype and strides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from whichgpu.capture import chances, convolution_ops, loss_ops, recurrent_ops, selection, special_ops
from whichgpu.capture.following import follow
from whichgpu.capture.host_parameters import left_alone
from whichgpu.capture.made_up import MadeUp
from whichgpu.capture.op_traits import OpTraits, traits_of
from whichgpu.capture.phantom_tensor import META, KernelCall, PhantomTensor, wrap
from whichgpu.capture.shadow import Shadow, give_shadow, is_assumed, note_assumed, real_result
from whichgpu.capture.stand_in import assume, guess
from whichgpu.capture.storages import Storages, sparse_refusal
from whichgpu.errors import CaptureError
from whichgpu.graph.tensor import contiguous_stride

if TYPE_CHECKING:
    from whichgpu.capture.recorder import Recorder

HANDLERS = (
    special_ops.HANDLERS | selection.HANDLERS | recurrent_ops.HANDLERS | loss_ops.HANDLERS | convolution_ops.HANDLERS
)

# What moves values between host and device.
_BETWEEN = frozenset({torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default})

# What an operator gave for arguments of one kind: (shape, strides, dtype) of each result.
_Made = tuple[tuple[torch.Size, tuple[int, ...], torch.dtype] | None, ...]


class FakeDevice(TorchDispatchMode):  # type: ignore[misc]
    """A CUDA device of shapes and dtypes.

    Attributes:
        storages: Its memory.
        recorder: What writes the operators down, while a step is recorded.
        wants_meta: Set while the user's own code asks for the real meta device.
        is_followed: Whether tensors on the CPU follow those they meet here, for programs that know no GPU.
        placeholders_read: How often a float was read back whose value is not known.
        made_up: Which memory of the host holds placeholders for values that are not known.
        notes: What it had to leave out or assume, for the reader of a result.
    """

    def __init__(self) -> None:
        super().__init__()
        self.storages = Storages()
        self.recorder: Recorder | None = None
        self.wants_meta = False
        self.is_followed = False
        self.placeholders_read = 0
        self.made_up = MadeUp()
        self.notes: list[str] = []
        self._made: dict[Any, tuple[_Made, bool]] = {}

    def tell(self, note: str) -> None:
        """Note something for the reader of a result, once."""
        if note not in self.notes:
            self.notes.append(note)

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """Take part even where torch.compile is at work."""
        return False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Wrapping the handler against torch.compile would cost more than most of its calls.
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Answer one operator."""
        with torch._C.DisableTorchFunction():
            return self.answer(func, args, kwargs or {})

    def answer(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the result of `func`, on the phantom GPU if it works there, and record it."""
        phantoms: list[PhantomTensor] = []
        others: list[torch.Tensor] = []
        key = (func, _key(args, phantoms, others), _key(kwargs.values(), phantoms, others), *kwargs)
        device = kwargs.get("device")
        if kwargs.get("pin_memory"):
            kwargs = {**kwargs, "pin_memory": None}
        if not phantoms and not self._is_wanted_here(device, others):
            weight = left_alone(func, args, kwargs)
            out = func(*args, **kwargs) if weight is None else weight
            chances.note(func, args, out)
            return out
        for other in others:
            if other.layout is not torch.strided:
                raise sparse_refusal(other.layout, func._schema.name.removeprefix("aten::"))
        if self.is_followed and phantoms and any(t.dim() for t in others) and func not in _BETWEEN:
            return follow(self, func, traits_of(func).written, args, kwargs)
        special = HANDLERS.get(func)
        if special is not None:
            result = special(self, func, args, kwargs)
            if result is not NotImplemented:
                chances.note(func, args, result)
                return result
        if device is not None:
            if device.type == "cpu":
                # A host tensor of the form of one on the device: zeros_like(x, device="cpu").
                return func(*(_moved(a, device) for a in args), **kwargs)
            kwargs = {**kwargs, "device": META}
        if kwargs.get("generator") is not None:
            kwargs = {**kwargs, "generator": None}
        traits = traits_of(func)
        if traits.composite is not None:
            with self:
                return traits.composite(*args, **kwargs)
        if phantoms and others:
            _refuse_mixed(traits, others)
        out = self._run(func, traits, args, kwargs, key, phantoms, bool(others))
        if any(is_assumed(p) for p in phantoms):
            for result in out if isinstance(out, (tuple, list)) else (out,):
                note_assumed(result)
        assume(func, args, out)
        guess(func, args, out)
        chances.note(func, args, out)
        return self.recorded(traits, args, kwargs, out)

    def recorded(self, traits: OpTraits, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Any:
        """Write a call down, if a step is being recorded, and return its result."""
        if self.recorder is not None:
            self.recorder.record(traits, args, kwargs, out)
        return out

    def _is_wanted_here(self, device: torch.device | None, others: list[torch.Tensor]) -> bool:
        if device is None:
            return False
        if device.type == "meta":
            # In C++ the phantom GPU goes by the name of meta; a plain meta tensor belongs to the user.
            return not self.wants_meta and not any(t.is_meta for t in others)
        return bool(device.type == "cuda")

    def _run(
        self,
        func: Any,
        traits: OpTraits,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        key: Any,
        phantoms: list[PhantomTensor],
        has_others: bool,
    ) -> Any:
        real = None
        if not phantoms or any(p.shadow is not None for p in phantoms):
            real = real_result(func, traits, args, kwargs, bool(phantoms))
        if traits.returns_nothing:
            return None
        if traits.is_fresh:
            if real is not None:
                return self._like_real(real)
            found = self._made.get(key)
            if found is not None:
                made, is_single = found
                outs = [None if m is None else self._make(m) for m in made]
                return outs[0] if is_single else tuple(outs)
            if traits.has_dynamic_shape:
                raise CaptureError(_values_needed(traits.name))
        out = self._run_kernel(func, traits, args, kwargs, has_others)
        if not isinstance(out, (tuple, list)):
            out = self._adopt(out)
            if traits.is_fresh and isinstance(out, PhantomTensor):
                self._made[key] = ((_description(out),), True)
        else:
            out = type(out)([self._adopt(o) for o in out])
            if traits.is_fresh and all(o is None or isinstance(o, PhantomTensor) for o in out):
                self._made[key] = (tuple(None if o is None else _description(o) for o in out), False)
        if real is not None:
            _shadow_views(out, real, phantoms[0].shadow if phantoms else None)
        return out

    def _run_kernel(
        self, func: Any, traits: OpTraits, args: tuple[Any, ...], kwargs: dict[str, Any], has_others: bool
    ) -> Any:
        if has_others:
            args = tuple(_moved(a, META) for a in args)
            kwargs = {k: _moved(v, META) for k, v in kwargs.items()}
        try:
            with KernelCall():
                return func(*args, **kwargs)
        except NotImplementedError as error:
            raise CaptureError(
                f"The phantom GPU cannot tell the shape of what {traits.name} returns: it has no meta kernel. "
                "An extension must register a fake kernel (torch.library.register_fake)."
            ) from error
        except RuntimeError as error:
            if not any(words in str(error) for words in ("FakeTensor", "meta tensors")):
                raise
            # What torch tells the author of an extension's kernel is of no use to who only calls it.
            raise CaptureError(
                f"The phantom GPU cannot tell the shape of what {traits.name} returns: its fake kernel wants values. "
                "Choose another implementation for capturing, such as layers that are not quantized."
            ) from error

    def _make(self, made: tuple[torch.Size, tuple[int, ...], torch.dtype]) -> PhantomTensor:
        shape, stride, dtype = made
        with KernelCall():
            meta = torch.empty_strided(shape, stride, dtype=dtype, device=META)
        out = wrap(meta)
        self.storages.note(out)
        return out

    def _adopt(self, out: Any) -> Any:
        if isinstance(out, torch.Tensor) and not isinstance(out, PhantomTensor) and out.is_meta:
            out = wrap(out)
            self.storages.note(out)
        return out

    def _like_real(self, real: Any) -> Any:
        if isinstance(real, torch.Tensor):
            return self.from_real(real)
        if isinstance(real, (tuple, list)):
            return type(real)([self._like_real(r) for r in real])
        return real

    def new(self, shape: Sequence[int], dtype: torch.dtype) -> PhantomTensor:
        """Return a new contiguous tensor on the phantom GPU."""
        return self._make((torch.Size(shape), contiguous_stride(tuple(shape)), dtype))

    def from_real(self, real: torch.Tensor) -> PhantomTensor:
        """Return a new tensor on the phantom GPU with the shape, dtype and, if small, the value of `real`."""
        made = self._make((real.shape, real.stride(), real.dtype))
        give_shadow(made, real)
        return made


def _key(values: Any, phantoms: list[PhantomTensor], others: list[torch.Tensor]) -> tuple[Any, ...]:
    """Return a hashable form of arguments that decides the form of the result, and collect the tensors among them."""
    key: list[Any] = []
    for value in values:
        kind = type(value)
        if kind is PhantomTensor or isinstance(value, PhantomTensor):
            phantoms.append(value)
            key.append((value.shape, value.stride(), value.dtype))
        elif kind is list or kind is tuple:
            key.append(_key(value, phantoms, others))
        elif isinstance(value, torch.Tensor):
            others.append(value)
            strides = value.stride() if value.layout is torch.strided else value.layout
            # The attribute `shape` of a lazy parameter raises.
            key.append((value.size(), strides, value.dtype, value.device))
        else:
            # 1, 1.0 and True are equal, and promote a dtype differently.
            key.append((kind, value))
    return tuple(key)


def _description(out: torch.Tensor) -> tuple[torch.Size, tuple[int, ...], torch.dtype]:
    return out.shape, out.stride(), out.dtype


def _shadow_views(out: Any, real: Any, source: Shadow | None) -> None:
    outs = out if isinstance(out, (tuple, list)) else (out,)
    reals = real if isinstance(real, (tuple, list)) else (real,)
    for phantom, value in zip(outs, reals, strict=False):
        if isinstance(phantom, PhantomTensor) and isinstance(value, torch.Tensor) and phantom.shadow is None:
            give_shadow(phantom, value, source)


def _moved(value: Any, device: torch.device) -> Any:
    """Return an argument with its tensors replaced by ones of their form on `device`, unless they are there."""
    if isinstance(value, torch.Tensor):
        # In here a phantom tensor is as good as a meta tensor.
        if value.is_meta or (isinstance(value, PhantomTensor) and device == META):
            return value
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=device)
    if isinstance(value, (list, tuple)) and any(isinstance(v, torch.Tensor) for v in value):
        return [_moved(v, device) for v in value]
    return value


def _refuse_mixed(traits: OpTraits, others: list[torch.Tensor]) -> None:
    """Raise as CUDA would if a CPU tensor meets one on the GPU; numbers and indices may."""
    if any(t.dim() for t in others) and not traits.name.startswith(("aten.index", "aten._index_put", "aten._foreach")):
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and "
            f"{others[0].device}! (when calling {traits.name})"
        )


def _values_needed(name: str) -> str:
    return (
        f"The shape of what {name} returns depends on values that the phantom GPU does not have. "
        "Capture a step whose shapes are fixed, or keep the tensor it depends on on the CPU."
    )
