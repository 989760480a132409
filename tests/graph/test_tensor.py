import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whichgpu.errors import GraphError
from whichgpu.graph import DTYPE_BYTES, Tensor, dtype_bytes
from whichgpu.graph.tensor import contiguous_stride

shapes = st.lists(st.integers(1, 6), max_size=5).map(tuple)


def distinct_addresses(shape: tuple[int, ...], stride: tuple[int, ...]) -> int:
    """Brute force: the number of different elements that the strides reach."""
    addresses = {0}
    for size, step in zip(shape, stride, strict=True):
        addresses = {a + i * step for a in addresses for i in range(size)}
    return len(addresses)


@given(shapes)
def test_contiguous_strides_reach_every_element_once(shape: tuple[int, ...]) -> None:
    stride = contiguous_stride(shape)
    assert distinct_addresses(shape, stride) == math.prod(shape)
    assert Tensor(shape, "float32", stride).is_contiguous


@given(shapes, st.data())
def test_a_broadcast_dimension_counts_once(shape: tuple[int, ...], data: st.DataObject) -> None:
    kept = [data.draw(st.booleans()) for _ in shape]
    inner = contiguous_stride(tuple(n if k else 1 for n, k in zip(shape, kept, strict=True)))
    stride = tuple(s if k else 0 for s, k in zip(inner, kept, strict=True))
    tensor = Tensor(shape, "float16", stride)
    assert tensor.nbytes == 2 * distinct_addresses(shape, stride)


def test_memory_formats_are_those_torch_names() -> None:
    torch = pytest.importorskip("torch")
    plain = torch.empty(2, 3, 4, 5)
    last = plain.to(memory_format=torch.channels_last)
    for tensor in (plain, last, plain.transpose(1, 3), torch.empty(2, 1, 4, 5)):
        ours = Tensor(tuple(tensor.shape), "float32", tuple(tensor.stride()))
        assert ours.is_contiguous == tensor.is_contiguous()
        assert ours.is_channels_last == tensor.is_contiguous(memory_format=torch.channels_last)


def test_dtype_sizes_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")
    for name, size in DTYPE_BYTES.items():
        assert getattr(torch, name).itemsize == size, name


def test_an_unknown_dtype_is_refused_by_name() -> None:
    with pytest.raises(GraphError, match="float13"):
        dtype_bytes("float13")


def test_equality_leaves_out_the_storage() -> None:
    assert Tensor((2,), "int8", None, 1) == Tensor((2,), "int8", None, 9)
    assert len({Tensor((2,), "int8", None, 1), Tensor((2,), "int8", None, 9)}) == 1
