"""Which precision a recorded step trains in: read from the formats its matrix math and its parameters have."""

from __future__ import annotations

from collections import Counter

from whichgpu.graph import Graph, Op

_MATRIX = (
    *("aten.mm.", "aten.addmm.", "aten.bmm.", "aten.baddbmm.", "aten.addbmm.", "aten.linear.", "aten.convolution."),
    *("aten._scaled_dot_product_", "aten._cudnn_rnn.", "aten.conv"),
)
_HALVES = {"float16": "fp16", "bfloat16": "bf16"}


def precision_seen(graph: Graph, *, matmul_tf32: bool) -> tuple[str, tuple[str, ...]]:
    """Return a key of `whichgpu.graph.PRECISIONS`, and what the key does not tell.

    Args:
        graph: One step.
        matmul_tf32: Whether float32 matrix products may use TF32.
    """
    matrix = _most(_matrix_formats(graph))
    weights = _most(_weight_formats(graph))
    full = "tf32" if matmul_tf32 else "fp32"
    if matrix in _HALVES:
        if weights == matrix == "bfloat16":
            return "bf16", ()
        if weights == matrix:
            return "amp-fp16", ("Most weights are float16, which is less work and memory than amp-fp16 is.",)
        return f"amp-{_HALVES[matrix]}", ()
    if matrix not in ("float32", ""):
        return full, (f"Matrix math is in {matrix}; it is priced as {full}.",)
    return full, ()


def matrix_ops(graph: Graph) -> tuple[int, int]:
    """Return how many ops of a step multiply matrices or convolve, and how many of these go backward."""
    found = [op.phase for op in graph.ops if op.name.startswith(_MATRIX)]
    return len(found), found.count("backward")


def _matrix_formats(graph: Graph) -> Counter[str]:
    found: Counter[str] = Counter()
    for op in graph.ops:
        if op.name.startswith(_MATRIX) and op.outputs and op.outputs[0] is not None:
            found[op.outputs[0].dtype] += _elements(op)
    return found


def _weight_formats(graph: Graph) -> Counter[str]:
    formats: dict[int, str] = {}
    for op in graph.ops:
        for tensor in (*op.input_tensors(), *op.output_tensors()):
            if tensor.storage is not None:
                formats.setdefault(tensor.storage, tensor.dtype)
    found: Counter[str] = Counter()
    for index, storage in enumerate(graph.storages):
        if storage.kind == "parameter" and index in formats:
            found[formats[index]] += storage.nbytes
    return found


def _elements(op: Op) -> int:
    count = 1
    for size in op.outputs[0].shape if op.outputs and op.outputs[0] is not None else ():
        count *= size
    return count


def _most(found: Counter[str]) -> str:
    return found.most_common(1)[0][0] if found else ""
