"""A view of the files in which what a script writes lies in a folder of its own and seems to be where it put it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# Paths are text here: pathlib would call the functions that are replaced.
# ruff: noqa: PTH100, PTH118, PTH120

_KIND, _FOLDER = 0o170000, 0o040000
# Not files of anybody.
_DEVICES = ("/dev", "/proc", "/sys")


class Overlay:
    """Where a path really leads.

    A file the script has written, or may change, is a copy below `folder`; one it has removed is gone from the view;
    all others are as they are. Caches of downloads are left alone, so that nothing is fetched again and again.

    Args:
        folder: An empty folder that takes the copies.
        open_to: Folders in which the script may write.
    """

    def __init__(self, folder: Path, open_to: Iterable[Path]) -> None:
        self.root = str(folder)
        self._open_to = tuple(f"{p}{os.sep}" for p in (*_DEVICES, *map(str, open_to)))
        self._removed: set[str] = set()
        self._is_used = False
        # What this module itself calls must be the real functions, whatever is replaced later.
        self._lstat, self._stat, self._makedirs = os.lstat, os.stat, _plain_makedirs(os.mkdir)
        self._listdir, self._unlink, self._rename, self._rmdir = os.listdir, os.unlink, os.rename, os.rmdir

    def located(self, path: Any) -> str | None:
        """Return where `path` seems to lead, absolute; None if the overlay has nothing to do with it."""
        if isinstance(path, int) or path is None:
            return None
        full = os.path.abspath(os.fsdecode(path))
        if full.startswith(self.root + os.sep):
            # The script went into a folder it has made.
            return full[len(self.root) :]
        return None if f"{full}{os.sep}".startswith(self._open_to) or full == self.root else full

    def _lexists(self, path: str) -> bool:
        try:
            self._lstat(path)
        except (OSError, ValueError):
            return False
        return True

    def copy_of(self, full: str) -> str:
        """Return where the copy of a file is, or would be."""
        return self.root + full

    def for_reading(self, path: Any) -> Any:
        """Return what to open, or look at, in place of `path`."""
        if not self._is_used:
            return path
        full = self.located(path)
        if full is None:
            return path
        copy = self.copy_of(full)
        if self._lexists(copy) or self._is_removed(full):
            return copy
        # From a folder it has made, the script reaches for a file of the user's.
        return path if os.path.abspath(os.fsdecode(path)) == full else full

    def for_writing(self, path: Any, *, keep: bool) -> Any:
        """Return what to write to in place of `path`.

        Args:
            path: What the script wants to write to.
            keep: Whether what the file holds must still be in it.
        """
        full = self.located(path)
        if full is None:
            return path
        copy = self.copy_of(full)
        there = self.exists(full)
        self._is_used = True
        if self.is_folder(os.path.dirname(full)):
            self._makedirs(os.path.dirname(copy))
        if there and keep and not self._lexists(copy):
            if self.is_folder(full):
                self._makedirs(copy)
            else:
                _copy_file(full, copy)
        self._removed.discard(full)
        return copy

    def exists(self, full: str) -> bool:
        """Return whether something seems to be at `full`."""
        return self._lexists(self.copy_of(full)) or (self._lexists(full) and not self._is_removed(full))

    def is_folder(self, full: str) -> bool:
        """Return whether a folder seems to be at `full`."""
        copy = self.copy_of(full)
        if self._lexists(copy):
            return self.is_real_folder(copy)
        return self.is_real_folder(full) and not self._is_removed(full)

    def is_real_folder(self, place: str) -> bool:
        """Return whether there is a folder at `place`, whatever it seems."""
        try:
            return (self._stat(place).st_mode & _KIND) == _FOLDER
        except OSError:
            return False

    def names_in(self, full: str) -> list[str]:
        """Return the names that seem to be in the folder `full`."""
        copy = self.copy_of(full)
        names = self._listdir(copy) if self._lexists(copy) else []
        if self._lexists(full) and not self._is_removed(full):
            names += [n for n in self._listdir(full) if n not in names and not self._is_removed(os.path.join(full, n))]
        return names

    def changes(self, full: str) -> bool:
        """Return whether the folder `full` looks different from what it is."""
        return self._is_used and (
            self._lexists(self.copy_of(full)) or any(r == full or r.startswith(full + os.sep) for r in self._removed)
        )

    def make_folder(self, full: str) -> None:
        """Make a folder in the view."""
        if self.exists(full):
            raise FileExistsError(17, "File exists", full)
        if not self.is_folder(os.path.dirname(full)):
            raise FileNotFoundError(2, "No such file or directory", full)
        self._is_used = True
        self._makedirs(self.copy_of(full))
        self._removed.discard(full)

    def remove(self, full: str, *, folder: bool = False) -> None:
        """Remove a file, or an empty folder, from the view."""
        if not self.exists(full):
            raise FileNotFoundError(2, "No such file or directory", full)
        if folder and self.names_in(full):
            raise OSError(39, "Directory not empty", full)
        self.remove_tree(full)

    def remove_tree(self, full: str) -> None:
        """Remove whatever is at `full` from the view."""
        self._is_used = True
        self._drop(self.copy_of(full))
        if self._lexists(full):
            self._removed.add(full)

    def rename(self, source: str, target: str) -> None:
        """Move a file or folder in the view."""
        if not self.exists(source):
            raise FileNotFoundError(2, "No such file or directory", source)
        copy = self.for_writing(source, keep=True)
        if self.is_folder(source):
            for name in self.names_in(source):
                self._take(os.path.join(source, name))
        place = self.for_writing(target, keep=False)
        self._rename(copy, place)
        if self._lexists(source):
            self._removed.add(source)

    def _take(self, full: str) -> None:
        """Copy a file, or all of a folder, so that it can be moved."""
        self.for_writing(full, keep=True)
        if self.is_folder(full):
            for name in self.names_in(full):
                self._take(os.path.join(full, name))

    def _is_removed(self, full: str) -> bool:
        if not self._removed:
            return False
        while full not in self._removed:
            above = os.path.dirname(full)
            if above == full:
                return False
            full = above
        return True

    def _drop(self, place: str) -> None:
        if not self._lexists(place):
            return
        if (self._lstat(place).st_mode & _KIND) != _FOLDER:
            self._unlink(place)
            return
        for name in self._listdir(place):
            self._drop(os.path.join(place, name))
        self._rmdir(place)


def _plain_makedirs(mkdir: Any) -> Any:
    def makedirs(folder: str) -> None:
        try:
            mkdir(folder)
        except FileNotFoundError:
            makedirs(os.path.dirname(folder))
            mkdir(folder)
        except FileExistsError:
            pass

    return makedirs


_open = open


def _copy_file(source: str, target: str) -> None:
    with _open(source, "rb") as old, _open(target, "wb") as new:
        shutil.copyfileobj(old, new)
