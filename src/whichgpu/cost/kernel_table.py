"""The distinct kernels of a step as arrays: made once per job, priced once per device."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whichgpu.cost.group import Group, group_of
from whichgpu.cost.tiles import Floats, cut, slab_bytes
from whichgpu.cost.timeline import Timeline
from whichgpu.work import GraphWork
from whichgpu.work.kernel import Kernel

Ints = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class KernelTable:
    """The n distinct kernels of a step, and the host's calls.

    Attributes:
        kernels: The n kernels themselves.
        calls: How often the step runs each, (n,).
        groups: The kernels' distinct groups.
        group: Index into `groups`, (n,).
        flops: FLOPs of one call, (n,).
        bytes_moved: Bytes of one call, (n,).
        elements: What one call goes through one by one, (n,).
        blocks: Into how many parts one call can be cut, infinite where they are many, (n,).
        launches: Launches of one call, (n,).
        slab_bytes: What one multiprocessor's share of a wave touches, (n,).
        gemm: Indices of the g kernels that hold a matrix product, (g,).
        tile_count: Tiles of each product by tile and split, (tiles, splits, g).
        tile_depth: Length of the sum in one tile, infinite where such a split is not allowed, (tiles, splits, g).
        op_calls: Host calls that launch kernels.
        extra_launches: Launches of those calls after each one's first.
        view_calls: Host calls that launch nothing.
        synchronizations: How often the host waits for the device.
        compiled_launches: Launches that compiled code makes, which count among none of the above.
        compiled_calls: How often the step enters compiled code.
        graph_launches: How often the step starts a CUDA graph; its launches count among none of the above.
        timeline: The order of all calls; None where the host never waits.
    """

    kernels: tuple[Kernel, ...]
    calls: Floats
    groups: tuple[Group, ...]
    group: Ints
    flops: Floats
    bytes_moved: Floats
    elements: Floats
    blocks: Floats
    launches: Floats
    slab_bytes: Floats
    gemm: Ints
    tile_count: Floats
    tile_depth: Floats
    op_calls: int
    extra_launches: int
    view_calls: int
    synchronizations: int
    compiled_launches: int = 0
    compiled_calls: int = 0
    graph_launches: int = 0
    timeline: Timeline | None = None

    @classmethod
    def of(cls, work: GraphWork) -> KernelTable:
        """Return the table of a step's work."""
        eager = [c for c in work.counts if not (c.compiled or c.replayed)]
        op_calls = sum(c.calls for c in eager if c.work.kernels)
        launches = sum(c.calls * c.work.launches for c in eager)
        return cls.of_kernels(
            work.kernels(),
            op_calls=op_calls,
            extra_launches=launches - op_calls,
            view_calls=work.host_calls - op_calls,
            synchronizations=work.synchronizations,
            compiled_launches=work.compiled_launches,
            compiled_calls=work.compiled_calls,
            graph_launches=work.graph_launches,
            timeline=Timeline.of(work),
        )

    @classmethod
    def of_kernels(
        cls,
        kernels: Iterable[tuple[Kernel, int]],
        *,
        op_calls: int = 0,
        extra_launches: int = 0,
        view_calls: int = 0,
        synchronizations: int = 0,
        compiled_launches: int = 0,
        compiled_calls: int = 0,
        graph_launches: int = 0,
        timeline: Timeline | None = None,
    ) -> KernelTable:
        """Return the table of `kernels`, each with how often it runs."""
        pairs = tuple(kernels)
        rows = tuple(k for k, _ in pairs)
        each = [group_of(k) for k in rows]
        groups = tuple(dict.fromkeys(each))
        index = {group: i for i, group in enumerate(groups)}
        gemm = [i for i, k in enumerate(rows) if k.gemm is not None]
        count, depth = cut([rows[i] for i in gemm])
        return cls(
            kernels=rows,
            calls=np.array([n for _, n in pairs], dtype=np.float64),
            groups=groups,
            group=np.array([index[g] for g in each], dtype=np.intp),
            flops=np.array([k.flops for k in rows], dtype=np.float64),
            bytes_moved=np.array([k.bytes_moved for k in rows], dtype=np.float64),
            elements=np.array([k.elements for k in rows], dtype=np.float64),
            blocks=np.array([np.inf if k.blocks is None else k.blocks for k in rows], dtype=np.float64),
            launches=np.array([k.launches for k in rows], dtype=np.float64),
            slab_bytes=np.array([slab_bytes(k) for k in rows], dtype=np.float64),
            gemm=np.array(gemm, dtype=np.intp),
            tile_count=count,
            tile_depth=depth,
            op_calls=op_calls,
            extra_launches=extra_launches,
            view_calls=view_calls,
            synchronizations=synchronizations,
            compiled_launches=compiled_launches,
            compiled_calls=compiled_calls,
            graph_launches=graph_launches,
            timeline=timeline,
        )
