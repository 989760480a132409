"""Which torch the phantom GPU works with: it leans on private parts of torch, so each version has to be tried."""

from __future__ import annotations

import re
from typing import Any

from whichgpu.errors import MissingExtraError, UnsupportedTorchError

OLDEST = (2, 11)
NEWEST = (2, 13)


def supported_text() -> str:
    """Return the supported versions for a message: '2.11 to 2.13'."""
    return " to ".join(f"{major}.{minor}" for major, minor in (OLDEST, NEWEST))


def import_torch() -> Any:
    """Return the torch module.

    Raises:
        MissingExtraError: If torch is not installed.
        UnsupportedTorchError: If its version is not one the phantom GPU is tested with.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError("torch", "torch", "capture a training step") from None
    refuse_unsupported(str(torch.__version__))
    return torch


def require_torch() -> None:
    """Raise unless a supported torch is installed; does not import it, which takes seconds.

    Raises:
        MissingExtraError: If torch is not installed.
        UnsupportedTorchError: If its version is not one the phantom GPU is tested with.
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("torch")
    except PackageNotFoundError:
        raise MissingExtraError("torch", "torch", "run a training script") from None
    refuse_unsupported(found)


def refuse_unsupported(version: str) -> None:
    """Raise unless `version` is a supported release of torch.

    Raises:
        UnsupportedTorchError: Naming the version found and those supported.
    """
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None or not OLDEST <= (int(found[1]), int(found[2])) <= NEWEST:
        raise UnsupportedTorchError(
            f"torch {version} is installed; the phantom GPU is tested with torch {supported_text()}. "
            "Run: pip install 'whichgpu[torch]', or use a built-in job, which needs no torch."
        )
