"""What a script writes goes to a scratch folder, and is found there again; the user's files stay as they are.

Python's own functions are replaced, and those of libraries that write without them: torch, safetensors, SQLite.
"""

from __future__ import annotations

import builtins
import bz2
import importlib.util
import io
import os
import shutil
import sqlite3
import sqlite3.dbapi2
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from whichgpu.capture.patches import Patches
from whichgpu.capture.script.overlay import Overlay

_WRITING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Variables that name caches of downloads and of compiled code, and where those are by default.
_CACHES = {
    "XDG_CACHE_HOME": ".cache",
    "HF_HOME": ".cache/huggingface",
    "HF_HUB_CACHE": "",
    "HF_DATASETS_CACHE": "",
    "TORCH_HOME": ".cache/torch",
    "TRITON_CACHE_DIR": ".triton",
    "MPLCONFIGDIR": ".config/matplotlib",
    "NLTK_DATA": "nltk_data",
    "KERAS_HOME": ".keras",
}


def cache_folders() -> list[Path]:
    """Return the folders in which libraries keep what they have downloaded."""
    home = Path.home()
    named = [Path(os.environ[name]).expanduser() for name in _CACHES if os.environ.get(name)]
    return [*named, *(home / folder for name, folder in _CACHES.items() if folder and not os.environ.get(name))]


def install(patches: Patches, scratch: Path) -> Overlay:
    """Send what is written from now on below `scratch`.

    Args:
        patches: What is replaced, to be put back.
        scratch: A folder; what is written to it directly stays where it is.
    """
    folder = scratch / "files"
    folder.mkdir()
    overlay = Overlay(folder, [scratch, *cache_folders()])
    _install_open(patches, overlay)
    _install_looking(patches, overlay)
    _install_changing(patches, overlay)
    _install_libraries(patches, overlay)
    return overlay


def _install_open(patches: Patches, overlay: Overlay) -> None:
    plain_open, plain_os_open = io.open, os.open

    def open_file(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if not isinstance(mode, str) or not set(mode) & set("wxa+"):
            return plain_open(overlay.for_reading(file), mode, *args, **kwargs)
        full = overlay.located(file)
        if "x" in mode and full is not None and overlay.exists(full):
            raise FileExistsError(17, "File exists", full)
        if full is not None and mode.startswith("r") and not overlay.exists(full):
            raise FileNotFoundError(2, "No such file or directory", full)
        return plain_open(overlay.for_writing(file, keep="w" not in mode), mode, *args, **kwargs)

    def os_open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if dir_fd is None:
            if flags & _WRITING_FLAGS:
                full = overlay.located(path)
                if flags & os.O_CREAT and flags & os.O_EXCL and full is not None and overlay.exists(full):
                    raise FileExistsError(17, "File exists", full)
                path = overlay.for_writing(path, keep=not flags & os.O_TRUNC)
            else:
                path = overlay.for_reading(path)
        return plain_os_open(path, flags, mode, dir_fd=dir_fd)

    patches.set(builtins, "open", open_file)
    patches.set(io, "open", open_file)
    patches.set(os, "open", os_open)
    # These have kept the function under a name of their own.
    patches.set(tarfile, "bltn_open", open_file)
    patches.set(bz2, "_builtin_open", open_file)


def _install_looking(patches: Patches, overlay: Overlay) -> None:
    for name in ("stat", "lstat", "access", "readlink", "chdir", "statvfs", "listxattr", "getxattr"):
        if not hasattr(os, name):
            continue
        patches.set(os, name, _first(getattr(os, name), overlay.for_reading))
    plain_listdir, plain_scandir = os.listdir, os.scandir

    def listdir(path: Any = ".") -> Any:
        full = overlay.located(path)
        if full is None or not overlay.changes(full):
            return plain_listdir(overlay.for_reading(path))
        if not overlay.is_folder(full):
            raise FileNotFoundError(2, "No such file or directory", full)
        return overlay.names_in(full)

    def scandir(path: Any = ".") -> Any:
        full = overlay.located(path)
        if full is None or not overlay.changes(full):
            return plain_scandir(overlay.for_reading(path))
        if not overlay.is_folder(full):
            raise FileNotFoundError(2, "No such file or directory", full)
        names = set(overlay.names_in(full))
        entries = []
        for place in (overlay.copy_of(full), full):
            if overlay.is_real_folder(place):
                with plain_scandir(place) as found:
                    entries += [e for e in found if e.name in names]
                names -= {e.name for e in entries}
        return _Entries(entries)

    patches.set(os, "listdir", listdir)
    patches.set(os, "scandir", scandir)


class _Entries:
    """What os.scandir gives: an iterator that is a context."""

    def __init__(self, entries: Iterable[Any]) -> None:
        self._entries = iter(list(entries))

    def __iter__(self) -> _Entries:
        return self

    def __next__(self) -> Any:
        return next(self._entries)

    def __enter__(self) -> _Entries:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def close(self) -> None:
        """Do nothing: there is nothing open."""


def _first(plain: Callable[..., Any], placed: Callable[[Any], Any]) -> Callable[..., Any]:
    """Return `plain` with its first argument, a path, replaced; paths relative to an open folder stay."""

    def call(path: Any, *args: Any, **kwargs: Any) -> Any:
        return plain(path if kwargs.get("dir_fd") is not None else placed(path), *args, **kwargs)

    return call


def _install_changing(patches: Patches, overlay: Overlay) -> None:
    def kept(path: Any) -> Any:
        return overlay.for_writing(path, keep=True)

    for name in ("chmod", "utime", "chown", "truncate", "setxattr", "removexattr", "lchown"):
        if hasattr(os, name):
            patches.set(os, name, _first(getattr(os, name), kept))
    patches.set(os, "mkdir", _by_place(os.mkdir, overlay, overlay.make_folder))
    patches.set(os, "rmdir", _by_place(os.rmdir, overlay, lambda full: overlay.remove(full, folder=True)))
    for name in ("remove", "unlink"):
        patches.set(os, name, _by_place(getattr(os, name), overlay, overlay.remove))
    for name in ("rename", "replace"):
        patches.set(os, name, _renaming(getattr(os, name), overlay))
    for name in ("symlink", "link"):
        patches.set(os, name, _linking(getattr(os, name), overlay))
    plain_rmtree = shutil.rmtree

    def rmtree(path: Any, ignore_errors: bool = False, *args: Any, **kwargs: Any) -> None:
        full = overlay.located(path)
        if full is None:
            plain_rmtree(path, ignore_errors, *args, **kwargs)
        elif overlay.exists(full):
            overlay.remove_tree(full)
        elif not ignore_errors:
            raise FileNotFoundError(2, "No such file or directory", full)

    patches.set(shutil, "rmtree", rmtree)


def _by_place(plain: Callable[..., Any], overlay: Overlay, act: Callable[[str], None]) -> Callable[..., Any]:
    def call(path: Any, *args: Any, dir_fd: int | None = None, **kwargs: Any) -> Any:
        full = None if dir_fd is not None else overlay.located(path)
        if full is None:
            return plain(path, *args, **kwargs) if dir_fd is None else plain(path, *args, dir_fd=dir_fd, **kwargs)
        return act(full)

    return call


def _renaming(plain: Callable[..., Any], overlay: Overlay) -> Callable[..., Any]:
    def rename(source: Any, target: Any, **kwargs: Any) -> Any:
        old, new = overlay.located(source), overlay.located(target)
        if old is not None and new is not None:
            return overlay.rename(old, new)
        if old is None and new is None:
            return plain(source, target, **kwargs)
        # Between the view and a folder that is open: the copy moves.
        place = overlay.for_writing(source, keep=True) if old is not None else source
        result = plain(place, overlay.for_writing(target, keep=False) if new is not None else target, **kwargs)
        if old is not None:
            overlay.remove_tree(old)
        return result

    return rename


def _linking(plain: Callable[..., Any], overlay: Overlay) -> Callable[..., Any]:
    def link(source: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
        source = overlay.for_reading(source) if os.fsdecode(source).startswith(os.sep) else source
        return plain(source, overlay.for_writing(target, keep=False), *args, **kwargs)

    return link


def _install_libraries(patches: Patches, overlay: Overlay) -> None:
    import torch

    def written(path: Any) -> Any:
        return overlay.for_writing(path, keep=False) if isinstance(path, (str, bytes, Path)) else path

    def looked_at(path: Any) -> Any:
        return overlay.for_reading(path) if isinstance(path, (str, bytes, Path)) else path

    patches.set(torch._C, "PyTorchFileWriter", _first(torch._C.PyTorchFileWriter, written))
    plain_connect = sqlite3.connect

    def connect(database: Any, *args: Any, **kwargs: Any) -> Any:
        if database == ":memory:":
            return plain_connect(database, *args, **kwargs)
        if isinstance(database, str) and database.startswith("file:"):
            path, mark, query = database.removeprefix("file:").partition("?")
            if path in ("", ":memory:") or "mode=memory" in query:
                return plain_connect(database, *args, **kwargs)
            kept = overlay.for_writing(unquote(path.removeprefix("//")), keep=True)
            return plain_connect(f"file:{quote(os.fsdecode(kept))}{mark}{query}", *args, **kwargs)
        return plain_connect(overlay.for_writing(database, keep=True), *args, **kwargs)

    # SQLAlchemy takes it from where it is defined.
    for module in (sqlite3, sqlite3.dbapi2):
        patches.set(module, "connect", connect)
    if importlib.util.find_spec("safetensors") is not None:
        import safetensors

        plain_save = safetensors.serialize_file

        def save(tensors: Any, filename: Any, *args: Any, **kwargs: Any) -> Any:
            return plain_save(tensors, written(filename), *args, **kwargs)

        patches.set(safetensors, "serialize_file", save)
        patches.set(safetensors, "safe_open", _first(safetensors.safe_open, looked_at))
