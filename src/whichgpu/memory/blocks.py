"""The blocks a model is made of: modules that stand in a row, such as the layers of a transformer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

from whichgpu.graph import Graph

# One alone does not stand in a row.
_FEWEST_BLOCKS = 2


@dataclass(frozen=True, slots=True)
class Block:
    """A module whose forward pass is one run of ops.

    Attributes:
        module: Its path.
        begins: Index of its first op.
        ends: Index after its last op.
    """

    module: str
    begins: int
    ends: int


def blocks_of(graph: Graph) -> list[list[Block]]:
    """Return the ways to cut the forward pass into blocks that stand in a row: layers, or stages of layers.

    A way is one place of a number in the paths of modules: "encoder.3" of "encoder.3.block.1.mlp", or
    "encoder.3.block.1".
    """
    ways: defaultdict[int, list[Block]] = defaultdict(list)
    for index, op in enumerate(graph.ops):
        if op.phase != "forward" or not op.module:
            continue
        for depth, path in enumerate(_numbered(op.module)):
            blocks = ways[depth]
            if blocks and blocks[-1].module == path and blocks[-1].ends >= index - _gap(graph, blocks[-1], index):
                blocks[-1] = replace(blocks[-1], ends=index + 1)
            else:
                blocks.append(Block(path, index, index + 1))
    found = []
    for _, blocks in sorted(ways.items()):
        names = [b.module for b in blocks]
        whole = [b for b in blocks if names.count(b.module) == 1]
        if len(whole) >= _FEWEST_BLOCKS:
            found.append(whole)
    return found


def _gap(graph: Graph, block: Block, index: int) -> int:
    """Return how many ops without a module stand between a block's last op and this one: functions called there."""
    between = graph.ops[block.ends : index]
    return len(between) if all(not op.module or op.module.startswith(block.module) for op in between) else 0


def _numbered(module: str) -> Iterator[str]:
    parts = module.split(".")
    for place, part in enumerate(parts):
        if part.isdecimal():
            yield ".".join(parts[: place + 1])
