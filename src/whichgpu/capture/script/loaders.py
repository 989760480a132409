"""Watching DataLoaders: how long they are, how long a batch takes, which of them feed the training steps."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.utils.data import DataLoader

from whichgpu.capture.patches import Patches
from whichgpu.capture.script import when_imported
from whichgpu.capture.script.seen import LoaderSeen
from whichgpu.capture.script.watch import ScriptWatch, first_rows

# Packages whose samplers of batches have a batch size in samples.
_COUNT_SAMPLES = ("torch", "accelerate", "lightning", "lightning_fabric", "pytorch_lightning", "transformers")
_WORKERS = "_whichgpu_workers"
_OF_WORKERS = (
    *("num_workers", "prefetch_factor", "persistent_workers", "multiprocessing_context", "timeout"),
    *("pin_memory", "pin_memory_device", "worker_init_fn"),
)


def install(patches: Patches, watch: ScriptWatch, *, in_process: bool) -> None:
    """Let every iterator of a loader report its batches to `watch`.

    Args:
        patches: What is replaced, to be put back.
        watch: Hears of each batch.
        in_process: Whether loaders load in this process, without pinned memory: workers know nothing of a phantom GPU.
    """
    if in_process:
        _stay_in_process(patches)
    loaders = _Loaders(watch)
    # What makes an iterator: loaders of some libraries never end and iterate in a way of their own (ultralytics).
    patches.set(DataLoader, "_get_iterator", loaders.reporting(DataLoader._get_iterator, _describe))
    when_imported.install(
        patches, {"fastai.data.load": lambda module: _watch_fastai(patches, module, loaders, in_process)}
    )


class _Loaders:
    """The loaders seen so far, by the key they are told by."""

    def __init__(self, watch: ScriptWatch) -> None:
        self._watch = watch
        self._keys: WeakKeyDictionary[Any, str] = WeakKeyDictionary()

    def reporting(self, plain: Callable[[Any], Any], describe: Callable[[Any], LoaderSeen]) -> Callable[[Any], Any]:
        """Return what makes an iterator as `plain` does, one that reports."""

        def iterate(loader: Any) -> Any:
            if not self._watch.is_here:
                return plain(loader)
            return _Batches(plain(loader), self._key(loader, describe), self._watch, loader)

        return iterate

    def _key(self, loader: Any, describe: Callable[[Any], LoaderSeen]) -> str:
        if loader not in self._keys:
            seen, description = self._watch.seen.loaders, describe(loader)
            # Where one is made anew for every epoch, those before are gone.
            gone = (key for key in seen if key not in self._keys.values() and seen[key].is_like(description))
            self._keys[loader] = next(gone, str(len(seen)))
            seen.setdefault(self._keys[loader], description)
        return self._keys[loader]


def _watch_fastai(patches: Patches, module: ModuleType, loaders: _Loaders, in_process: bool) -> None:
    """Do the same for the loaders of fastai, which are none of torch's."""
    owner, workers = module.DataLoader, module._FakeLoader

    def describe(loader: Any) -> LoaderSeen:
        return LoaderSeen(
            dataset=type(loader.dataset).__name__,
            samples=loader.n,
            batches=_length(loader),
            batch=loader.bs,
            workers=getattr(loader.fake_l, _WORKERS, loader.fake_l.num_workers),
        )

    patches.set(owner, "__iter__", loaders.reporting(owner.__iter__, describe))
    if in_process:
        plain = workers.__init__

        def init(
            fake: Any, loader: Any, pin_memory: Any, num_workers: int, timeout: Any, *args: Any, **more: Any
        ) -> None:
            plain(fake, loader, False, 0, 0, *args, **more)
            setattr(fake, _WORKERS, num_workers)

        patches.set(workers, "__init__", init)


def _stay_in_process(patches: Patches) -> None:
    plain = DataLoader.__init__
    # A framework makes a loader anew from what the user's one says of itself, which is no workers by now.
    asked: list[tuple[Any, int]] = []
    names = list(inspect.signature(plain).parameters)[1:]

    # Frameworks look at its signature to make a loader like another one.
    @functools.wraps(plain)
    def init(loader: Any, *args: Any, **kwargs: Any) -> None:
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        # Set first: a loader refuses new attributes of some names once it is made.
        workers, dataset = given.get("num_workers", 0), given.get("dataset")
        if workers:
            asked.append((dataset, workers))
        loader.__dict__[_WORKERS] = workers or next((n for known, n in reversed(asked) if known is dataset), 0)
        for name in _OF_WORKERS:
            given.pop(name, None)
        plain(loader, **given)

    patches.set(DataLoader, "__init__", init)


def _describe(loader: Any) -> LoaderSeen:
    batch, sampler = loader.batch_size, loader.batch_sampler
    # One of the script's own may count anything else by that name, such as words.
    if batch is None and type(sampler).__module__.partition(".")[0] in _COUNT_SAMPLES:
        batch = getattr(sampler, "batch_size", None)
    return LoaderSeen(
        dataset=type(loader.dataset).__name__,
        # Without a sampler of batches every item of the dataset is one.
        samples=None if sampler is None else _length(loader.dataset),
        batches=_length(loader),
        batch=batch if isinstance(batch, int) else None,
        workers=loader.__dict__.get(_WORKERS, loader.num_workers),
    )


def _length(sized: Any) -> int | None:
    try:
        return len(sized)
    except (TypeError, NotImplementedError, AttributeError):
        return None


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute as a worker does, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Batches:
    """An iterator over batches that reports each one."""

    def __init__(self, plain: Any, key: str, watch: ScriptWatch, loader: Any) -> None:
        self._plain = plain
        # Nobody else may hold it, and while it is read from no other one is taken for it.
        self._loader = loader
        self._key = key
        self._watch = watch
        # What a worker would do, done here.
        self._is_a_workers = bool(watch.seen.loaders[key].workers) and not getattr(loader, "num_workers", 0)

    def __iter__(self) -> _Batches:
        return self

    def __len__(self) -> int:
        return len(self._plain)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plain, name)

    def __next__(self) -> Any:
        watch = self._watch
        begin, torch_s = time.perf_counter(), watch.torch_s()
        with _one_thread() if self._is_a_workers else nullcontext():
            batch = next(self._plain)
        interval = watch.interval
        interval.loading_s += time.perf_counter() - begin
        watch.torch_loading_s += watch.torch_s() - torch_s
        if torch.is_grad_enabled():
            interval.batches[self._key] = interval.batches.get(self._key, 0) + 1
        loader = watch.seen.loaders[self._key]
        if loader.rows is None:
            loader.rows = first_rows(batch)
            loader.batch = loader.rows if loader.batch is None else loader.batch
        return batch
