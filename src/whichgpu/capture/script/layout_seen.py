"""Which memory format a recorded step's images have: read from what its convolutions give."""

from __future__ import annotations

from whichgpu.graph import Graph

_IMAGE_DIMS = (4, 5)


def layout_seen(graph: Graph) -> str:
    """Return "channels_last" if most of what convolutions give lies so, "nchw" if not, "" where there are no images.

    Args:
        graph: One step.
    """
    outermost = innermost = 0
    for op in graph.ops:
        given = op.outputs[0] if op.outputs else None
        if not op.name.startswith("aten.convolution.") or given is None or len(given.shape) not in _IMAGE_DIMS:
            continue
        if given.is_contiguous:  # one channel or one pixel lies both ways
            outermost += given.numel
        elif given.is_channels_last:
            innermost += given.numel
    if not outermost + innermost:
        return ""
    return "channels_last" if innermost > outermost else "nchw"
