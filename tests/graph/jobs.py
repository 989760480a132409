"""Small jobs that the tests of this room share."""

from whichgpu.graph import Graph, Job, Op, Storage, Tensor


def linear_job(batch: int = 4) -> Job:
    """(batch, 3) @ (3, 5), its gradient, and an update over a list of parameters."""
    x = Tensor((batch, 3), "float32", None, 0)
    weight = Tensor((3, 5), "float32", None, 1)
    y = Tensor((batch, 5), "float32", None, 2)
    y_t = Tensor((5, batch), "float32", (1, 5), 2)
    gradient = Tensor((5, 3), "float32", None, 3)
    ops = (
        Op("aten.mm.default", {"self": x, "mat2": weight}, (y,), {}, "forward", "layer1.0"),
        Op("aten.mm.default", {"self": y_t, "mat2": x}, (gradient,), {}, "backward"),
        Op(
            "aten._foreach_add_.List",
            {"self": (weight, weight), "other": (gradient, None)},
            (),
            {"alpha": -0.1},
            "optimizer",
        ),
        Op("aten.sum.dim_IntList", {"self": x}, (None, y), {"dim": (0, 1), "keepdim": True, "dtype": None}, repeat=3),
    )
    storages = (
        Storage(batch * 12, "input"),
        Storage(60, "parameter"),
        Storage(batch * 20, "activation", 0, 4),
        Storage(60, "gradient", 1, None),
    )
    return Job(
        "linear",
        Graph(ops, storages),
        batch,
        100,
        "amp-bf16",
        "nchw",
        "row",
        "made by hand",
        ("a note",),
        {"batch": batch},
    )
