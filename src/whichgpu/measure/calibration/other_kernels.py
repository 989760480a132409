"""The other memory-bound kernels of training: pooling, embeddings, losses, dropout, joining, updates of weights."""

from __future__ import annotations

from collections.abc import Iterator

from whichgpu.graph import Attribute, Op, Tensor
from whichgpu.measure.calibration.ops import channels_last, placeholder, unary
from whichgpu.measure.calibration.probe import FORMATS, KernelProbe, Scope

VOCABULARY, WIDTH, TOKENS = 50257, 768, 8192
# Weights of a layer of GPT-2, many times over.
PARAMETERS = ((768, 2304), (2304,), (768, 768), (768,), (768, 3072), (3072,), (3072, 768), (768,)) * 12
_FOR_CPU = 16


def probes(scope: Scope) -> Iterator[KernelProbe]:
    """Yield them in the first half format, then in float32."""
    less = _FOR_CPU if scope.is_cpu else 1
    yield from _updates(scope)
    for name in (*scope.halves[:1], "fp32") if not scope.is_cpu else ("fp32",):
        yield from _of_format(name, FORMATS[name].dtype, less)


def _of_format(name: str, dtype: str, less: int) -> Iterator[KernelProbe]:
    tokens = TOKENS // less
    rows = Tensor((tokens, WIDTH), dtype)
    indices = Tensor((tokens,), "int64")
    table = Tensor((VOCABULARY, WIDTH), dtype)
    below = {"indices": VOCABULARY, "target": VOCABULARY}
    yield KernelProbe(
        f"embedding, {name}", (Op("aten.embedding.default", {"weight": table, "indices": indices}, ()),), below=below
    )
    backward: dict[str, Attribute] = {"num_weights": VOCABULARY, "padding_idx": -1, "scale_grad_by_freq": False}
    op = Op("aten.embedding_dense_backward.default", {"grad_output": rows, "indices": indices}, (), backward)
    # It sorts the indices, and the host waits for how many different ones there are.
    yield KernelProbe(f"embedding, {name}, backward", (op,), way="eager", below=below)
    yield from _dropout(name, Tensor((tokens, 4 * WIDTH), dtype))
    image = (64 // less, 64, 112, 112)
    for layout in ("channels_last", "nchw"):
        data = channels_last(image, dtype) if layout == "channels_last" else Tensor(image, dtype)
        yield from _max_pool(f"{layout}, {name}", data)
        yield KernelProbe(f"mean over pixels, {layout}, {name}", (unary("aten.mean.dim", data, dim=(2, 3)),))
    joined = Op("aten.cat.default", {"tensors": (rows, rows, rows)}, (), {"dim": -1})
    yield KernelProbe(f"cat of 3, {name}", (joined,))


def _dropout(name: str, rows: Tensor) -> Iterator[KernelProbe]:
    result, mask = placeholder(0), placeholder(1)
    attributes: dict[str, Attribute] = {"p": 0.1, "train": True}
    forward = Op("aten.native_dropout.default", {"input": rows}, (result, mask), attributes)
    yield KernelProbe(f"dropout, {name}", (forward,))
    inputs = {"grad_output": result, "mask": mask}
    backward = Op("aten.native_dropout_backward.default", inputs, (), {"scale": 1 / 0.9})
    yield KernelProbe(f"dropout, {name}, backward", (backward,), (forward,))


def _max_pool(title: str, data: Tensor) -> Iterator[KernelProbe]:
    result, places = placeholder(0), placeholder(1)
    window: dict[str, Attribute] = {"kernel_size": (3, 3), "stride": (2, 2), "padding": (1, 1)}
    forward = Op("aten.max_pool2d_with_indices.default", {"self": data}, (result, places), window)
    yield KernelProbe(f"max pool, {title}", (forward,))
    inputs = {"grad_output": result, "self": data, "indices": places}
    rest: dict[str, Attribute] = {"dilation": (1, 1), "ceil_mode": False}
    backward = Op("aten.max_pool2d_with_indices_backward.default", inputs, (), window | rest)
    yield KernelProbe(f"max pool, {title}, backward", (backward,), (forward,))


def _updates(scope: Scope) -> Iterator[KernelProbe]:
    """Yield one update of many weights by AdamW in one kernel, and pieces of what the foreach kind runs."""
    shapes = PARAMETERS[: 8 if scope.is_cpu else None]
    lists = {name: tuple(Tensor(s, "float32") for s in shapes) for name in ("self", "grads", "exp_avgs", "exp_avg_sqs")}
    steps = tuple(Tensor((), "float32") for _ in shapes)
    numbers: dict[str, Attribute] = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.01, "eps": 1e-8}
    fused = Op(
        "aten._fused_adamw_.default",
        {**lists, "max_exp_avg_sqs": (), "state_steps": steps},
        (),
        numbers | {"amsgrad": False, "maximize": False},
    )
    yield KernelProbe("AdamW, fused", (fused,))
    weights = lists["self"]
    yield KernelProbe("foreach mul", (Op("aten._foreach_mul_.Scalar", {"self": weights}, (), {"scalar": 0.999}),))
    pair = Op("aten._foreach_add_.List", {"self": weights, "other": lists["grads"]}, ())
    yield KernelProbe("foreach add", (pair,))
    three = {"self": weights, "tensor1": lists["grads"], "tensor2": lists["exp_avgs"]}
    yield KernelProbe("foreach addcmul", (Op("aten._foreach_addcmul_.Scalar", three, (), {"value": 0.001}),))
