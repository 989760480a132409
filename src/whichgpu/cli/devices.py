"""whichgpu devices: what can be compared."""

from __future__ import annotations

from typing import Annotated

import typer


def devices(
    name: Annotated[
        str | None, typer.Argument(help="Show everything known of this device.", show_default=False)
    ] = None,
) -> None:
    """List the devices, or show one with its sources and who rents it out."""
    from whichgpu.cli.output import Output
    from whichgpu.devices import devices as shipped_devices
    from whichgpu.devices import find_device, this_machine
    from whichgpu.report.device_list import render_device, render_devices

    place = Output(None)
    if name is None:
        place.write(render_devices(shipped_devices(), this_machine(), place.page()))
        return
    from whichgpu.offers import offers_for

    device = find_device(name)
    place.write(render_device(device, offers_for(device), place.page()))
