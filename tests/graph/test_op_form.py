"""Single ops in JSON and back."""

import json

import pytest

from whichgpu.errors import GraphError
from whichgpu.graph import Op, Tensor, op_from_form, op_to_form

X = Tensor((2, 3), "float16", (1, 2))
OPS = (
    Op("aten.mm.default", {"self": X, "mat2": Tensor((3, 4), "float16")}, (Tensor((2, 4), "float16"),)),
    Op("aten.cat.default", {"tensors": (X, None, X)}, (X,), {"dim": -1}),
    Op("aten._fused_adamw_.default", {"self": (X,), "max_exp_avg_sqs": ()}, (), {"lr": 0.1, "amsgrad": False}),
    Op("aten.convolution_backward.default", {"input": X}, (X, None), {"output_mask": (True, False), "groups": 1}),
)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_an_op_comes_back_as_it_was(op):
    assert op_from_form(json.loads(json.dumps(op_to_form(op)))) == op


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": None}, "text"),
        ({"inputs": {"self": ["float17", [1]]}}, "float17"),
        ({"inputs": {"self": ["float32", [-1]]}}, "negative"),
        ({"inputs": {"self": ["float32", [1, 2], [1]]}}, "strides"),
        ({"outputs": 3}, "Broken op"),
        ({"attributes": {"dim": {}}}, "attribute"),
    ],
)
def test_a_broken_form_is_refused_in_words(change, message):
    with pytest.raises(GraphError, match=message):
        op_from_form(op_to_form(OPS[0]) | change)
