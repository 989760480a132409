"""Pricing: Work x Device -> seconds, by a roofline with measured efficiencies. Knows no framework.

NumPy is imported only when something is priced. Adding a device family, or better coefficients, touches only
``data/efficiencies.toml``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from whichgpu.cost.family import Efficiencies, Family, efficiencies

if TYPE_CHECKING:
    from whichgpu.cost.kernel_table import KernelTable
    from whichgpu.cost.roofline import Priced
    from whichgpu.devices.device import Device
    from whichgpu.graph import Precision
    from whichgpu.work import GraphWork

__all__ = ["Efficiencies", "Family", "efficiencies", "price", "tabulate"]


def tabulate(work: GraphWork) -> KernelTable:
    """Return the distinct kernels of `work` as arrays; build it once to price many devices."""
    from whichgpu.cost.kernel_table import KernelTable

    return KernelTable.of(work)


def price(work: GraphWork | KernelTable, device: Device, precision: Precision, torch_version: str = "") -> Priced:
    """Return the seconds each distinct kernel of `work` takes on `device`, and the host's.

    Args:
        work: What the step does.
        device: Where it would run.
        precision: What its float32 matrix math may be rounded to (TF32); other formats follow the kernels' dtypes.
        torch_version: The PyTorch that runs it, "1.12"; today's if empty.
    """
    from whichgpu.cost.kernel_table import KernelTable
    from whichgpu.cost.roofline import price_table

    table = work if isinstance(work, KernelTable) else KernelTable.of(work)
    found = efficiencies()
    return price_table(table, device, precision, found, found.software_of(torch_version))
