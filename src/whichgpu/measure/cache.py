"""Where downloaded files are kept."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path


def cache_directory() -> Path:
    """Return the directory for downloaded files, which may not exist yet.

    ``WHICHGPU_CACHE`` if set; else the platform's: ``$XDG_CACHE_HOME/whichgpu`` or ``~/.cache/whichgpu``,
    ``~/Library/Caches/whichgpu`` on macOS, ``Cache`` in ``whichgpu`` in ``%LOCALAPPDATA%`` on Windows.
    """
    own = os.environ.get("WHICHGPU_CACHE")
    if own:
        return Path(own).expanduser()
    xdg = os.environ.get("XDG_CACHE_HOME")
    if xdg and Path(xdg).is_absolute():
        return Path(xdg) / "whichgpu"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "whichgpu"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "whichgpu" / "Cache"
    try:
        return Path.home() / ".cache" / "whichgpu"
    except RuntimeError:  # a user without a home
        return Path(tempfile.gettempdir()) / "whichgpu"
