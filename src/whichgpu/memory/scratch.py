"""Memory that ops take for themselves while they run, or keep: no tensor of the graph tells of it.

Workspaces lie in the caching allocator like tensors, so torch.cuda.memory_allocated counts them.

Leaves out: sorting, reductions that need several blocks, cuDNN's recurrent layers and its convolutions by FFT.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

from whichgpu.devices.device import Device
from whichgpu.graph import Attribute, Graph, Op, Tensor
from whichgpu.units import KIB, MIB

_FP32_BYTES = 4
_INT32_BYTES = 4
_TILE = 4
_HALVES = frozenset({"float16", "bfloat16"})
# What cuBLAS is given once by PyTorch for each thread that multiplies: forward and backward are two.
# Source: aten/src/ATen/cuda/CublasHandlePool.cpp, parseChosenWorkspaceSize, torch 2.11 to 2.13; from Hopper on more.
_CUBLAS_BYTES = (2 * 4096 + 8 * 16) * KIB
_CUBLAS_LARGE_BYTES = 32 * MIB
_LARGE = ("9.", "10.", "12.")
_HIPBLAS_BYTES = 32 * MIB
_HIPBLAS_LARGE_BYTES = 128 * MIB  # gfx94, gfx95
_MATMULS = frozenset({"aten.mm", "aten.addmm", "aten.bmm", "aten.baddbmm", "aten.dot", "aten.mv", "aten.addmv"})


@dataclass(frozen=True, slots=True)
class Workspaces:
    """What the ops of a graph take beside its tensors, in bytes by the op's index.

    Attributes:
        needed: While the op runs.
        wanted: While the op runs; where there is no room the op makes do without, as cuDNN's convolutions do.
        kept: From the op's first run on, for good.
    """

    needed: Mapping[int, int]
    wanted: Mapping[int, int]
    kept: Mapping[int, int]


NO_WORKSPACES = Workspaces({}, {}, {})


@dataclass(frozen=True, slots=True)
class Libraries:
    """What the libraries of a device take for themselves; devices that are alike in it share a replay.

    Attributes:
        cublas_bytes: What cuBLAS keeps for each thread that multiplies matrices.
        winograd: Whether float32 convolutions run by Winograd's method, as on GPUs without TF32.
    """

    cublas_bytes: int = 0
    winograd: bool = False

    @classmethod
    def of(cls, device: Device) -> Libraries:
        """Return those of `device`."""
        return cls(_cublas_bytes(device), device.vendor == "NVIDIA" and "tf32" not in device.flops_per_s)


def workspaces(graph: Graph, libraries: Libraries) -> Workspaces:
    """Return what the ops of `graph` take beside its tensors.

    Args:
        graph: One step.
        libraries: Those of the device.
    """
    needed: dict[int, int] = {}
    wanted: dict[int, int] = {}
    kept: dict[int, int] = {}
    multiplies: set[bool] = set()
    for index, op in enumerate(graph.ops):
        name = op.base_name
        rule = _RULES.get(name)
        if rule is not None:
            nbytes = rule(op)
            if rule is _convolution and libraries.winograd:
                nbytes = max(nbytes, _winograd(op))
            if nbytes:
                (wanted if rule is _convolution else needed)[index] = nbytes
        elif libraries.cublas_bytes and name in _MATMULS and (op.phase == "backward") not in multiplies:
            multiplies.add(op.phase == "backward")
            kept[index] = libraries.cublas_bytes
    return Workspaces(needed, wanted, kept)


def _cublas_bytes(device: Device) -> int:
    if device.vendor == "AMD":
        return _HIPBLAS_LARGE_BYTES if device.compute_capability.startswith(("gfx94", "gfx95")) else _HIPBLAS_BYTES
    if device.vendor != "NVIDIA":
        return 0
    return _CUBLAS_LARGE_BYTES if device.compute_capability.startswith(_LARGE) else _CUBLAS_BYTES


def _convolution(op: Op) -> int:
    """Tensor-core kernels want channels innermost: cuDNN turns other images and results around in its workspace."""
    image, weight, out = op.tensor("input"), op.tensor("weight"), _result(op)
    if out is None or image.dtype not in _HALVES or len(image.shape) < 4 or image.is_channels_last:
        return 0
    if op.attributes.get("groups", 1) != 1:
        return 0  # kernels of their own, cuDNN's and PyTorch's
    return image.nbytes + out.nbytes + weight.nbytes


def _winograd(op: Op) -> int:
    """Convolutions of 3 x 3 with stride 1 are made into products: 36 for each tile of 4 x 4 results.

    Tiles of all channels of image and result, and the weights, lie in the workspace turned. The formula has nothing
    fitted to it and gives the memory of PSPNet on V100 to 1 % (docs/memory.md), which is 8 to 12 % more than without.
    Source: Lavin, Gray: Fast Algorithms for Convolutional Neural Networks, 2015, F(4x4, 3x3).
    """
    image, weight, out = op.tensor("input"), op.tensor("weight"), _result(op)
    if out is None or image.dtype != "float32" or len(image.shape) != 4 or weight.shape[2:] != (3, 3):
        return 0
    given = op.attributes
    ones = (given.get("groups", 1), *_pair(given.get("stride", 1)), *_pair(given.get("dilation", 1)))
    if set(ones) != {1}:
        return 0
    batch, channels = image.shape[:2]
    tiles = batch * -(-out.shape[2] // _TILE) * -(-out.shape[3] // _TILE)
    made = out.shape[1]
    return (_TILE + 2) ** 2 * _FP32_BYTES * (tiles * (channels + made) + channels * made)


def _result(op: Op) -> Tensor | None:
    return op.outputs[0] if op.name.startswith("aten.convolution.") else op.tensor("grad_output")


def _pair(value: Attribute) -> tuple[Attribute, ...]:
    return value if isinstance(value, tuple) else (value,)


def _flash_backward(op: Op) -> int:
    """The gradient of the queries is summed in float32, beside a sum of every row; grouped heads are spread out.

    Source: aten/src/ATen/native/transformers/cuda/flash_attn/flash_api.cpp, mha_bwd, torch 2.11 to 2.13.
    """
    query, key = op.tensor("query"), op.tensor("key")
    rows = prod(query.shape[:-2]) * _up(query.shape[-2], 128)
    nbytes = rows * (_up(query.shape[-1], 32) + 1) * _FP32_BYTES
    if key.shape[-3] != query.shape[-3]:
        nbytes += 2 * query.shape[-3] * (key.nbytes // key.shape[-3])
    return nbytes


def _efficient_backward(op: Op) -> int:
    """Half-precision gradients of the queries are summed in float32.

    Source: aten/src/ATen/native/transformers/cuda/attention_backward.cu, torch 2.11 to 2.13.
    """
    query = op.tensor("query")
    return query.numel * _FP32_BYTES if query.dtype in _HALVES else 0


def _embedding_backward(op: Op) -> int:
    """Indices are sorted with their places: keys and values, twice each."""
    indices = op.tensor("indices")
    return 4 * indices.numel * indices.itemsize


def _sorted_indices(op: Op) -> int:
    if not op.attributes.get("accumulate"):
        return 0
    given = [t for t in op.tensors("indices") if isinstance(t, Tensor)]
    return 4 * max((t.numel * t.itemsize for t in given), default=0)


def _sparse_product(op: Op) -> int:
    """Of COO, the result turned around, and columns and the ends of rows in int32.

    Source: aten/src/ATen/native/sparse/cuda/SparseCUDATensorMath.cu, s_addmm_out_sparse_dense_cuda.
    """
    if "indices" not in op.inputs:
        return 0
    out = op.output()
    return out.nbytes + _INT32_BYTES * (op.tensor("values").numel + out.shape[0] + 1)


def _coalesce(op: Op) -> int:
    """Every place as one number, where it was and where equal ones begin; sorting takes the first two once more.

    Source: aten/src/ATen/native/sparse/cuda/SparseCUDATensor.cu, _coalesce_sparse_cuda.
    """
    indices = op.tensor("indices")
    return 5 * indices.shape[1] * indices.itemsize


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


_RULES: dict[str, Callable[[Op], int]] = {
    "aten.convolution": _convolution,
    "aten.convolution_backward": _convolution,
    "aten._scaled_dot_product_flash_attention_backward": _flash_backward,
    "aten._scaled_dot_product_efficient_attention_backward": _efficient_backward,
    "aten.embedding_dense_backward": _embedding_backward,
    "aten.index_put": _sorted_indices,
    "aten.index_put_": _sorted_indices,
    "aten._index_put_impl_": _sorted_indices,
    "aten._sparse_addmm": _sparse_product,
    "aten._coalesce": _coalesce,
}
