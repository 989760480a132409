"""Turning ops into nodes: what stays an expression that its readers take in, and what is written to memory.

Follows torch 2.13, torch/_inductor/graph.py (run_node) and ir.py (StorageBox): an element-wise result is computed by
whoever reads it, unless it is read by several and costs more than four reads, has piled up more than eight, or somebody
needs it in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from whichgpu.graph import Op, Tensor
from whichgpu.work.fusion.layout import Layout
from whichgpu.work.fusion.program import Buffer, Expression, Node, Program, Read, Value, Walk, picked, walked
from whichgpu.work.fusion.saving import Saving
from whichgpu.work.fusion.uses import Region, Uses
from whichgpu.work.kernel import Kernel

# Source: torch/_inductor/config.py, realize_reads_threshold, realize_acc_reads_threshold, realize_opcount_threshold.
_READS_TO_SHARE = 4
_MOST_READS = 8
_LONGEST = 30
_FP32_BYTES = 4
# Gradients that are content with a normalized input, which the norm then writes instead of the input.
_NORM_GRADIENTS = ("aten.native_layer_norm_backward",)


class Lowering:
    """The state of lowering a graph, region by region.

    Attributes:
        uses: Who reads what.
        layout: How images lie.
        saving: What later regions find in memory.
        program: What the current region has become so far.
        at: Index of the op that is lowered.
    """

    def __init__(self, uses: Uses, layout: Layout, needs_memory: Sequence[bool]) -> None:
        """Begin with a graph of which nothing is lowered yet.

        Args:
            uses: Who reads what.
            layout: How images lie.
            needs_memory: For every op whether it takes its inputs from memory only.
        """
        self.uses = uses
        self.layout = layout
        self.program = Program(-1, [])
        self.saving = Saving(self.program.buffers)
        self.at = 0
        self._needs_memory = needs_memory
        self._region = Region(0, 0, "forward")
        self._values: dict[int, Value] = {}
        self._written_at: dict[int, int] = {}
        self._parts = 0
        self._fixed: set[int] = set()
        self._again: dict[int, int] = {}
        self._shared: dict[tuple[object, ...], int] = {}
        self._computed: dict[tuple[object, ...], tuple[Tensor, ...]] = {}

    def begin(self, region: Region) -> None:
        """Begin a region."""
        self._region = region
        self.program = Program(self.program.region + 1, self.program.buffers)
        self._again = {}

    @property
    def op(self) -> Op:
        """The op that is lowered."""
        return self.uses.graph.ops[self.at]

    # Reading

    def expression(self, tensor: Tensor, walk: Walk = "") -> Expression:
        """Return what reading `tensor`, which may be a view of a part of its storage, takes."""
        value = self._value(tensor)
        distinct = tensor.nbytes // tensor.itemsize
        if isinstance(value, int):
            buffer = self.program.buffers[value]
            whole = distinct >= buffer.numel and not walk
            nbytes = min(float(tensor.nbytes), buffer.nbytes)
            read = Read(value, nbytes, whole, 0 if whole else self._part(), walk)
            return Expression(tensor.numel, tensor.dtype, (read,))
        value = replace(value, reads=self._reads_here(value.reads))
        if distinct >= value.numel:
            return walked(value, walk)
        return replace(picked(value, distinct, self._part(), walk), numel=tensor.numel)

    def shared(self, tensor: Tensor) -> Expression:
        """Return what reading `tensor` takes for an op that reads it more than once.

        What costs more than a few reads is written first, in float32.
        """
        key = (tensor.storage, self._written_at.get(tensor.storage or 0), tensor)
        if key in self._shared:
            found = self.program.found(self._shared[key])
            return replace(found, reads=self._reads_here(found.reads))
        value = self.expression(tensor)
        if len(value.reads) <= _READS_TO_SHARE:
            return value
        if tensor.itemsize >= _FP32_BYTES and not self.is_part(tensor):
            self._in_memory(tensor)
            return self.expression(tensor)
        self._shared[key] = self.write(value, value.numel * _FP32_BYTES)
        return self.program.found(self._shared[key])

    def memory(self, tensor: Tensor) -> Read:
        """Return how a library reads `tensor` from memory, where it is written to if it has not been."""
        buffer = self._in_memory(tensor)
        self._fixed.add(buffer)
        return Read(buffer, float(tensor.nbytes), tensor.numel >= self.program.buffers[buffer].numel)

    # Writing

    def bind(self, tensor: Tensor | None, value: Value) -> None:
        """Note what op wrote to `tensor`, and write it to memory if that is where it is needed."""
        if tensor is None or tensor.storage is None:
            return
        storage = tensor.storage
        if self.is_part(tensor):
            value = self._write_part(tensor, value)
        elif isinstance(value, Expression) and self._is_wanted_in_memory(tensor, value):
            value = self.write(value, value.numel * tensor.itemsize)
        if isinstance(value, int):
            self._keep(storage, value)
        self._values[storage] = value
        self._written_at[storage] = self.at

    def write(self, value: Expression, nbytes: float, after: tuple[Read, ...] = ()) -> int:
        """Return the buffer that a new loop writes `value` to, after it has read `after`."""
        buffer = self.program.new_buffer(value.numel, nbytes)
        if not value.is_random and not after:
            self.program.buffers[buffer].recipe = value
        reads = (*value.reads, *after)
        self.program.add(Node("pointwise", value.numel, 1, reads, (buffer,), value.flops, value.dtype, self.op))
        return buffer

    def call(self, kernels: Iterable[Kernel], reads: Iterable[Read], out: Tensor) -> Expression:
        """Return the result of a call of a library, of the form of `out`, before anything is done to it."""
        buffer = self.program.new_buffer(out.numel, out.nbytes)
        self.program.add(Node("library", 0, 0, tuple(reads), (buffer,), 0.0, out.dtype, self.op, tuple(kernels)))
        return Expression(out.numel, out.dtype, (Read(buffer, float(out.nbytes), True),))

    def library(self, kernels: Iterable[Kernel], reads: Iterable[Read], outputs: Iterable[Tensor | None]) -> None:
        """Add a call of a library that writes `outputs`."""
        outs = [t for t in outputs if t is not None]
        buffers = tuple(self.program.new_buffer(t.numel, t.nbytes) for t in outs)
        dtype = outs[0].dtype if outs else "float32"
        self.program.add(Node("library", 0, 0, tuple(reads), buffers, 0.0, dtype, self.op, tuple(kernels)))
        for tensor, buffer in zip(outs, buffers, strict=True):
            self.bind(tensor, buffer)

    def reuse(self, op: Op, outs: tuple[Tensor, ...]) -> bool:
        """Bind the results of `op` to those of an equal one that lie in memory, and return whether there are any.

        Equal ops are merged where forward and backward are parted, not where there is no backward.
        Source: torch/_functorch/partitioners.py (fx_graph_cse).
        """
        if self.uses.is_inference:
            return False
        inputs = tuple((t.storage, self._written_at.get(t.storage or 0), t) for t in op.input_tensors())
        if any(storage is None for storage, _, _ in inputs):
            return False
        key = (op.name, inputs, tuple(op.attributes.items()), self.program.region)
        first = self._computed.setdefault(key, outs)
        if first is outs or any(not isinstance(self._values.get(t.storage or 0), int) for t in first):
            return False
        for tensor, known in zip(outs, first, strict=True):
            self.layout.follow(known, tensor)
            self.bind(tensor, self._values[known.storage or 0])
        return True

    # Asking

    def is_in_memory(self, tensor: Tensor) -> bool:
        """Return whether `tensor` has been written, or was there."""
        return isinstance(self._value(tensor), int)

    def is_part(self, tensor: Tensor) -> bool:
        """Return whether `tensor` is a view of less than its storage."""
        storages = self.uses.graph.storages
        return bool(storages) and tensor.nbytes < storages[tensor.storage or 0].nbytes

    def is_written_here(self, tensor: Tensor) -> bool:
        """Return whether a loop or a reduction of this region has written `tensor`, in an order that suits readers."""
        value = self._value(tensor)
        node = self.program.writer(value) if isinstance(value, int) else None
        return node is not None and node.kind != "library"

    def is_movable(self, tensor: Tensor) -> bool:
        """Return whether a loop of this region has written `tensor` and might as well write it elsewhere."""
        value = self._value(tensor)
        if not isinstance(value, int) or value in self._fixed or self.program.buffers[value].escapes:
            return False
        return self.is_written_here(tensor)

    def readers(self, result: Tensor) -> tuple[Op, ...] | None:
        """Return the ops of this region that will read `result` of the op being lowered; None if others will, too."""
        return self._readers(result, self.at)

    def readers_so_far(self, tensor: Tensor) -> tuple[Op, ...]:
        """Return the ops of this region that read what `tensor` holds now."""
        found = self._written_at.get(tensor.storage) if tensor.storage is not None else None
        return () if found is None else self._readers(tensor, found) or ()

    def later_readers(self, result: Tensor) -> tuple[Op, ...]:
        """Return the ops of later regions that will read `result` of the op being lowered."""
        if result.storage is None:
            return ()
        indices = self.uses.readers(result.storage, self.at)
        return tuple(self.uses.graph.ops[i] for i in indices if i >= self._region.end)

    # Deciding

    def _is_wanted_in_memory(self, tensor: Tensor, value: Expression) -> bool:
        storage = tensor.storage
        assert storage is not None
        if self.uses.is_resident(storage) or self.uses.outlives(storage, self.at):
            return True
        readers = self.uses.readers(storage, self.at)
        inside = [i for i in readers if i < self._region.end and not self.uses.is_eager(i)]
        outside = [] if storage in self.saving.masks else readers[len(inside) :]
        if any(self.uses.is_eager(i) or self._needs_memory[i] for i in outside):
            return True
        if outside and not self._is_computed_again(tensor, value):
            if any(self.uses.graph.ops[i].base_name not in _NORM_GRADIENTS for i in outside):
                return True
            self.saving.normalized_only.add(storage)
        reads, is_long = len(value.reads), value.length > _LONGEST
        if len(inside) > 1 and (reads > _READS_TO_SHARE or is_long):
            return True
        if len(inside) > 1 and reads > 1 and any(self._needs_memory[i] for i in inside):
            return True
        return reads > 1 and (reads > _MOST_READS or is_long)

    def _is_computed_again(self, tensor: Tensor, value: Expression) -> bool:
        """Return whether a later region computes `value` anew rather than finding it in memory.

        Not what a library has made, its bias added or not; nor what begins with something that was used before a
        library was called, as every sum of a residual stream does.
        Source: torch/_functorch/partitioners.py (should_ban_recomputation, ban_if_used_far_apart).
        """
        if value.is_random or self._needs_memory[self.at]:
            return False
        for source in self.op.input_tensors():
            written_at = self._written_at.get(source.storage) if source.storage is not None else None
            if written_at is not None:
                first = self.uses.readers(source.storage or 0, written_at)[0]
                if any(self._needs_memory[first : self.at]):
                    return False
        return self.saving.pays(value.reads, tensor.nbytes)

    def _readers(self, tensor: Tensor, written_at: int) -> tuple[Op, ...] | None:
        storage = tensor.storage
        if storage is None:
            return ()
        indices = self.uses.readers(storage, written_at)
        if self.uses.outlives(storage, written_at):
            return None
        if any(i >= self._region.end or self.uses.is_eager(i) for i in indices):
            return None
        return tuple(self.uses.graph.ops[i] for i in indices)

    def _value(self, tensor: Tensor) -> Value:
        storage = tensor.storage
        if storage is not None and storage in self._values:
            return self._values[storage]
        storages = self.uses.graph.storages
        nbytes = storages[storage].nbytes if storage is not None and storages else tensor.nbytes
        self.program.buffers.append(Buffer(max(nbytes // tensor.itemsize, 1), float(nbytes)))
        found = len(self.program.buffers) - 1
        if storage is not None:
            self._values[storage] = found
        return found

    def _in_memory(self, tensor: Tensor) -> int:
        value = self._value(tensor)
        if isinstance(value, Expression):
            assert tensor.storage is not None
            value = replace(value, reads=self._reads_here(value.reads))
            value = self._values[tensor.storage] = self.write(value, value.numel * tensor.itemsize)
        return value

    def _keep(self, storage: int, buffer: int) -> None:
        """Note whether somebody needs `buffer` after the region."""
        readers = self.uses.readers(storage, self.at)
        if readers and readers[-1] >= self._region.end:
            self.saving.keep(buffer)
        is_result = self.uses.outlives(storage, self.at) or self.uses.is_resident(storage)
        if is_result or any(self.uses.is_eager(i) for i in readers):
            self.program.buffers[buffer].escapes = True

    def _write_part(self, tensor: Tensor, value: Value) -> int:
        """Return the buffer of a storage of which `value` was written to a part."""
        former = self._in_memory(tensor)
        if isinstance(value, int):
            value = Expression(tensor.numel, tensor.dtype, (Read(value, float(tensor.nbytes), True),))
        buffer = self.write(value, tensor.nbytes, (Read(former, 0.0, False),))
        self.program.buffers[buffer].numel = self.program.buffers[former].numel
        return buffer

    def _reads_here(self, reads: tuple[Read, ...]) -> tuple[Read, ...]:
        """Return `reads` with those of buffers an earlier region has not kept turned to copies computed again."""
        return tuple(r._replace(buffer=self._here(r.buffer)) for r in reads)

    def _here(self, index: int) -> int:
        """Return the buffer of this region that holds what `index` does."""
        buffer = self.program.buffers[index]
        is_here = buffer.region in (None, self.program.region)
        if is_here or buffer.recipe is None or self.saving.is_kept(index):
            return index
        if index not in self._again:
            value = replace(buffer.recipe, reads=self._reads_here(buffer.recipe.reads))
            self._again[index] = self.write(value, buffer.nbytes)
        return self._again[index]

    def _part(self) -> int:
        self._parts += 1
        return self._parts
