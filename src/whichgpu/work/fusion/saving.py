"""What backward finds in memory, and what it computes anew, as torch.compile parts a step into its two passes.

Follows torch 2.13, torch/_functorch/partitioners.py (solve_min_cut): what costs less to compute again than to write and
read is computed again.
"""

from __future__ import annotations

from whichgpu.work.fusion.program import Buffer, Read


class Saving:
    """Which buffers outlast the region that writes them.

    Attributes:
        masks: By storage, the buffer that holds a byte an element: whether it is positive.
        normalized: By the storage of a norm's statistic, the buffer that holds its input, normalized.
        normalized_only: Storages that backward needs normalized and no other way.
    """

    def __init__(self, buffers: list[Buffer]) -> None:
        self.masks: dict[int, int] = {}
        self.normalized: dict[int, int] = {}
        self.normalized_only: set[int] = set()
        self._buffers = buffers
        self._kept: set[int] = set()

    def keep(self, buffer: int) -> None:
        """Note that a later region finds `buffer` in memory."""
        self._kept.add(buffer)

    def is_kept(self, buffer: int) -> bool:
        """Return whether a later region finds `buffer` in memory."""
        found = self._buffers[buffer]
        return found.region is None or found.escapes or buffer in self._kept

    def pays(self, reads: tuple[Read, ...], nbytes: float) -> bool:
        """Return whether to compute again what `reads` lead to, `nbytes` large, and keep what that begins with.

        Writing and reading counts twice. Source: get_node_weight.
        """
        more = [r for r in self._leaves(reads) if not self.is_kept(r.buffer)]
        if sum(r.nbytes for r in more) >= 2 * nbytes:
            return False
        self._kept.update(r.buffer for r in more)
        return True

    def _leaves(self, reads: tuple[Read, ...]) -> list[Read]:
        """Return what computing `reads` again would begin with."""
        found: dict[Read, None] = {}
        for read in reads:
            recipe = self._buffers[read.buffer].recipe
            if recipe is None or self.is_kept(read.buffer):
                found[read] = None
            else:
                found.update(dict.fromkeys(self._leaves(recipe.reads)))
        return list(found)
