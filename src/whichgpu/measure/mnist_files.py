"""The files of MNIST: fetched once, checked against their published sums, kept in the cache, never half written."""

from __future__ import annotations

import gzip
import hashlib
import os
import tempfile
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Images = NDArray[np.uint8]

# MD5 sums as torchvision.datasets.MNIST checks them.
MD5 = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_SILENCE_S = 5.0  # longest wait for a connection or the next piece
_FILE_S = 60.0  # longest wait for a whole file; the largest has 10 MB
_PIECE_BYTES = 1 << 16
_IDX_UINT8 = 0x08

Fetched = Callable[[str, int, "int | None"], None]


class UnavailableError(Exception):
    """A source of digits cannot be used here; its text says why. Never leaves this room."""


def mnist_files(
    cache: Path,
    on_fetched: Fetched = lambda name, done, total: None,
    *,
    opener: Callable[..., Any] | None = None,
    sums: dict[str, str] | None = None,
) -> dict[str, Path]:
    """Return the paths of the four files, by name, fetching those that are not in `cache` or not intact.

    Args:
        cache: Directory they are kept in; made if need be.
        on_fetched: Told a file's name, the bytes fetched and their total (None if unknown).
        opener: Opens a URL as `urllib.request.urlopen`, the default, does.
        sums: MD5 by file name; the published ones by default.

    Raises:
        UnavailableError: If one of them cannot be had from any mirror, or not be written.
    """
    sums = MD5 if sums is None else sums
    paths = {}
    for name, md5 in sums.items():
        path = cache / name
        if not (path.is_file() and hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == md5):
            _fetch(path, md5, on_fetched, opener)
        paths[name] = path
    return paths


def _fetch(path: Path, md5: str, on_fetched: Fetched, opener: Callable[..., Any] | None) -> None:
    from http.client import HTTPException
    from urllib.parse import urlsplit
    from urllib.request import urlopen

    complaints = []
    for mirror in MIRRORS:
        host = urlsplit(mirror).hostname
        try:
            content = _download(mirror + path.name, path.name, on_fetched, opener or urlopen)
        except (OSError, HTTPException, ValueError) as error:
            complaints.append(f"{host}: {getattr(error, 'reason', None) or error}")
            continue
        if hashlib.md5(content, usedforsecurity=False).hexdigest() == md5:
            try:
                _write_whole(path, content)
            except OSError as error:
                raise UnavailableError(f"{path} cannot be written ({error.strerror or error})") from error
            return
        complaints.append(f"{host}: {path.name} is not the published file (wrong MD5)")
    raise UnavailableError("; ".join(complaints))


def _download(url: str, name: str, on_fetched: Fetched, opener: Callable[..., Any]) -> bytes:
    begin = time.monotonic()
    content = bytearray()
    with opener(url, timeout=_SILENCE_S) as answer:
        length = answer.headers.get("Content-Length")
        total = int(length) if length else None
        while piece := answer.read(_PIECE_BYTES):
            content += piece
            on_fetched(name, len(content), total)
            if time.monotonic() - begin > _FILE_S:
                raise TimeoutError(f"{name} took longer than {_FILE_S:g} s")
    return bytes(content)


def _write_whole(path: Path, content: bytes) -> None:
    """Write `content` beside `path` and move it there, so that `path` is never a part of a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(prefix=path.name, suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(beside).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(beside).unlink()
        raise


def read_idx(path: Path) -> Images:
    """Return the array of unsigned bytes in the gzipped IDX file at `path`, of the shape its header tells.

    Source: the format as described at yann.lecun.com/exdb/mnist: two zero bytes, a type code, the number of
    dimensions, each dimension as a big-endian 32-bit integer, then the values.

    Raises:
        UnavailableError: If it is not such a file.
    """
    import numpy as np

    try:
        raw = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise UnavailableError(f"{path.name} cannot be read ({error})") from error
    if len(raw) < 4 or raw[:3] != bytes((0, 0, _IDX_UINT8)) or len(raw) < 4 + 4 * raw[3]:
        raise UnavailableError(f"{path.name} is no IDX file of unsigned bytes")
    shape = tuple(int(n) for n in np.frombuffer(raw, dtype=">u4", count=raw[3], offset=4))
    values = np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * raw[3])
    if values.size != int(np.prod(shape)):
        raise UnavailableError(f"{path.name} has {values.size} values; its header tells {int(np.prod(shape))}")
    return values.reshape(shape)
