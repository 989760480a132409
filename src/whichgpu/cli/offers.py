"""whichgpu offers: who rents out what, for how much."""

from __future__ import annotations

from typing import Annotated

import typer


def offers(
    gpu: Annotated[str | None, typer.Option(help="Only machines with this device.", show_default=False)] = None,
    provider: Annotated[str | None, typer.Option(help="Only machines of this provider.", show_default=False)] = None,
) -> None:
    """List rental prices, each with the day it was seen; the cheapest first where a device is given."""
    from whichgpu.cli.output import Output
    from whichgpu.devices import find_device
    from whichgpu.offers import find_provider, offers_for
    from whichgpu.offers import offers as all_offers
    from whichgpu.report.offer_list import render_offers

    place = Output(None)
    found = all_offers() if gpu is None else offers_for(find_device(gpu))
    if provider is not None:
        wanted = find_provider(provider).name
        found = tuple(offer for offer in found if offer.provider == wanted)
    place.write(render_offers(found, place.page()))
