"""Small jobs whose ops can be counted by eye."""

from whichgpu.graph import Graph, Job, Op, Storage, Tensor


def tensor(*shape, dtype="float16", storage=None):
    return Tensor(shape, dtype, storage=storage)


def mm(m, n, k, dtype="float16", repeat=1):
    inputs = {"self": tensor(m, k, dtype=dtype), "mat2": tensor(k, n, dtype=dtype)}
    return Op("aten.mm.default", inputs, (tensor(m, n, dtype=dtype),), repeat=repeat)


def relu(*shape, dtype="float16", repeat=1):
    x = tensor(*shape, dtype=dtype)
    return Op("aten.relu.default", {"self": x}, (x,), repeat=repeat)


def mystery(*shape, name="aten.never_heard_of.default", repeat=1):
    x = tensor(*shape)
    return Op(name, {"self": x}, (x,), repeat=repeat)


def cast(before, after, *shape, source=None, result=None):
    x = tensor(*shape, dtype=before, storage=source)
    return Op("aten._to_copy.default", {"self": x}, (tensor(*shape, dtype=after, storage=result),), {"dtype": after})


def job(*ops, precision="amp-fp16", storages=(), mode="eager"):
    return Job("tiny", Graph(tuple(ops), tuple(storages), mode), 32, 3200, precision)


__all__ = ["Storage", "cast", "job", "mm", "mystery", "relu", "tensor"]
