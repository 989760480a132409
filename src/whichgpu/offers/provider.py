"""A provider: who rents machines out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Provider:
    """Who rents machines out, as one file of `offers/data` tells it.

    Attributes:
        name: As offers carry it: "AWS EC2".
        aliases: Other exact names, compared without case; the name of its file is one.
        notes: What holds for all its offers.
    """

    name: str
    aliases: tuple[str, ...] = ()
    notes: str = ""
