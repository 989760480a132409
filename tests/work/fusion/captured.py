"""Small modules captured on the phantom GPU, and what a compiled region of theirs launches."""

from collections import Counter
from contextlib import nullcontext

import torch

from whichgpu.capture import capture, phantom_gpu
from whichgpu.work.fusion.fuse import compile_graph

KINDS = {"fused_reduction": "reduction"}


def captured(make, *shapes, train=False, autocast=None):
    """Return the graph of one step: forward, and in training the gradients of all parameters."""
    with phantom_gpu():
        model = make().cuda().train(train)
        inputs = [torch.randn(shape).cuda() for shape in shapes]
        kept = []

        def step():
            kept.clear()
            with nullcontext() if train else torch.no_grad():
                with torch.autocast("cuda", dtype=autocast) if autocast else nullcontext():
                    out = model(*inputs)
                if train:
                    kept.extend(torch.autograd.grad(out, list(model.parameters()), torch.empty_like(out)))
            kept.append(out)

        return capture(step, name="module", samples_per_step=1).graph


def launched(graph):
    """Return (loops, reductions, library calls) of each region, counters of one number left out, and loops' bytes."""
    regions, _ = compile_graph(graph)
    found = [region.launches for region in regions]
    return [(_numbers(region), sum(_bytes(launch) for launch in region if launch.nodes)) for region in found]


def _numbers(region):
    kinds = Counter("library" if not launch.nodes else _kind(launch) for launch in region)
    return kinds["loop"], kinds["reduction"], kinds["library"]


def _kind(launch):
    (kernel,) = launch.kernels
    return "number" if kernel.bytes_moved <= 16 else KINDS.get(kernel.kind, "loop")


def _bytes(launch):
    (kernel,) = launch.kernels
    return kernel.bytes_moved
