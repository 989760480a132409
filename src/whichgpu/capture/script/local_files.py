"""Which files of the user's own a script is made of: those it was run from and has imported, no installed package's."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path


def local_files() -> list[str]:
    """Return the files of all modules that were imported and belong to no installed package."""
    installed = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    installed |= {str(Path(__file__).parents[2]), *(p for p in sys.path if p.endswith("-packages"))}
    found = set()
    for module in list(sys.modules.values()):
        name = getattr(module, "__file__", None)
        # Modules that are made up name files that are none.
        if not isinstance(name, str) or not name.endswith(".py") or not Path(name).is_absolute():
            continue
        if not name.startswith(tuple(installed)):
            found.add(name)
    return sorted(found)
