"""Gradients that meet: on a GPU autograd adds the second to the first, which no tensor of a subclass shows."""

import torch

from whichgpu import capture, phantom_gpu


def captured(forward):
    with phantom_gpu():
        first, second = (torch.nn.Linear(256, 256, bias=False).cuda() for _ in range(2))
        rows = torch.randn(1024, 256, device="cuda")

        def step():
            for layer in (first, second):
                layer.zero_grad()
            forward(first, second, rows).backward()

        return capture(step, name="sum", samples_per_step=1024)


def sums(job):
    return [op for op in job.graph.ops if op.phase == "backward" and op.base_name in ("aten.add", "aten.add_")]


def test_a_residual_connection_needs_no_third_gradient():
    def residual(first, second, rows):
        hidden = first(rows)
        return (second(hidden).relu() + hidden).pow(2).mean()

    job = captured(residual)
    (op,) = sums(job)
    assert op.name == "aten.add_.Tensor"
    storages = job.graph.storages
    # The sum lies where the first gradient lay, from its beginning on.
    assert storages[op.tensor("self").storage].nbytes == 0
    out = storages[op.output().storage]
    assert out.nbytes == 1024 * 256 * 4
    assert out.allocated_at < job.graph.ops.index(op)


def test_a_gradient_that_somebody_still_needs_is_not_written_to():
    def shared(first, second, rows):
        hidden = first(rows)
        # The gradient of the sum goes to both sides as one tensor; the other side's formula still reads it.
        left, right = hidden.relu(), second(hidden)
        return (left * 2 + right + hidden).sum()

    job = captured(shared)
    for op in sums(job):
        if op.name == "aten.add.Tensor":
            freed = job.graph.storages[op.tensor("self").storage].freed_at
            assert freed is None or freed > job.graph.ops.index(op) + 1


def test_sums_in_the_formula_of_a_function_are_left_as_they_are():
    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad + grad

    job = captured(lambda first, second, rows: Doubled.apply(second(first(rows))).sum())
    assert [op.name for op in sums(job)] == ["aten.add.Tensor"]
