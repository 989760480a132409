"""Which cost model predicts: a name that changes whenever any prediction might."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib import resources
from importlib.metadata import PackageNotFoundError, version

# What decides a prediction: rules that count work, and code and coefficients that price it.
_ROOMS = ("whichgpu.work", "whichgpu.cost", "whichgpu.estimate")


@cache
def model_name() -> str:
    """Return the version of whichgpu and a fingerprint of the rules, code and coefficients that predict."""
    digest = sha256()
    for room in _ROOMS:
        folders = [resources.files(room)]
        while folders:
            for entry in sorted(folders.pop().iterdir(), key=lambda e: e.name):
                if entry.is_dir():
                    folders.append(entry)
                elif entry.name.endswith((".py", ".toml")):
                    digest.update(entry.read_bytes())
    try:
        ours = version("whichgpu")
    except PackageNotFoundError:  # run from its folder, not installed
        ours = "unknown"
    return f"{ours}+{digest.hexdigest()[:12]}"
