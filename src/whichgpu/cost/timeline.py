"""Two timelines: what the host issues, and what the device runs, cut where the host waits for the device.

Between two waits the host runs ahead of the device. At a wait it stands still until the device has run all that was
issued, and after it the device stands still until the host has issued something again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whichgpu.cost.family import Family, Host
from whichgpu.work import GraphWork
from whichgpu.work.count import OpCount
from whichgpu.work.kernel import Kernel

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Timeline:
    """The stretches between waits of a step that goes round and round, those that are alike once.

    Attributes:
        times: How often the step runs each of s stretches, (s,).
        begin: Where each begins in `call`, (s,).
        call: The calls of all stretches in order, as rows of `issued`, (n,).
        issued: What the host does for each of c distinct calls: ops, further launches, views, launches of compiled
            code, entries into it, starts of CUDA graphs, (c, 6).
        of_call: The call to which each of k entries belongs, (k,).
        kernel: The kernel it runs, (k,).
        runs: How often it runs it, (k,).
    """

    times: Floats
    begin: Ints
    call: Ints
    issued: Floats
    of_call: Ints
    kernel: Ints
    runs: Floats

    @classmethod
    def of(cls, work: GraphWork) -> Timeline | None:
        """Return the timeline of a step; None where the host never waits, so that order does not matter."""
        stretches = Counter(_stretches(work))
        if not stretches:
            return None
        index = {kernel: i for i, (kernel, _) in enumerate(work.kernels())}
        entries = [
            (c, index[kernel], n)
            for c, count in enumerate(work.counts)
            for kernel, n in Counter[Kernel](count.work.kernels).items()
        ]
        of_call, kernel, runs = np.array(entries, dtype=np.float64).reshape(-1, 3).T
        lengths = [len(stretch) for stretch in stretches]
        return cls(
            times=np.array(list(stretches.values()), dtype=np.float64),
            begin=np.cumsum([0, *lengths[:-1]]).astype(np.intp),
            call=np.array([c for stretch in stretches for c in stretch], dtype=np.intp),
            issued=np.array([*map(_issued, work.counts), _REPLAY, _ENTRY], dtype=np.float64),
            of_call=of_call.astype(np.intp),
            kernel=kernel.astype(np.intp),
            runs=runs,
        )

    def step_s(self, seconds: Floats, family: Family, host: Host, slower: float, norm: float) -> float:
        """Return the time of the step.

        Args:
            seconds: Time of one call of each kernel, (kernels,).
            family: May have an own time an op.
            host: The general times.
            slower: Factor of older software on host times.
            norm: p of the smooth maximum of device and host within a stretch.
        """
        op_s = host.op_s if family.op_host_s is None else family.op_host_s
        compiled_s = (host.compiled_launch_s, host.compiled_call_s, host.graph_launch_s)
        each_s = np.array([op_s, host.launch_s, host.view_s, *compiled_s])
        issue_s = (slower * self.issued @ each_s)[self.call]
        run_s = np.bincount(self.of_call, self.runs * seconds[self.kernel], len(self.issued))[self.call]
        issued_at, run_before = np.cumsum(issue_s), np.cumsum(run_s) - run_s
        host_s, device_s = (np.add.reduceat(found, self.begin) for found in (issue_s, run_s))
        # What is issued last before the device falls idle no more decides: from there on it runs to the end.
        begun = (issued_at - issue_s)[self.begin] - run_before[self.begin]
        idle_s = np.maximum.reduceat(issued_at - run_before, self.begin) - begun
        longer = np.maximum(host_s, device_s)
        both = (np.minimum(host_s, device_s) / np.where(longer > 0, longer, 1.0)) ** norm
        smooth_s = longer * (1 + both) ** (1 / norm)
        waits_s = slower * host.synchronization_s
        return float(self.times @ (np.maximum(idle_s + device_s, smooth_s) + waits_s))


# These follow the distinct calls, so that `ENTER` and `REPLAY` index them from the end.
_REPLAY, _ENTRY = (0, 0, 0, 0, 0, 1), (0, 0, 0, 0, 1, 0)


def _issued(count: OpCount) -> tuple[int, int, int, int, int, int]:
    launches = count.work.launches
    if count.replayed:
        return (0, 0, 0, 0, 0, 0)
    if count.compiled:
        return (0, 0, 0, launches, 0, 0)
    return (1, launches - 1, 0, 0, 0, 0) if count.work.kernels else (0, 0, 1, 0, 0, 0)


def _stretches(work: GraphWork) -> list[tuple[int, ...]]:
    """Return the calls between waits; what follows the last one runs before the first of the next step."""
    found: list[tuple[int, ...]] = []
    begun: list[int] = []
    for call in work.order:
        begun.append(call)
        if call >= 0 and work.counts[call].work.synchronizes:
            found.append(tuple(begun))
            begun = []
    if found:
        found[0] = (*begun, *found[0])
    return found
