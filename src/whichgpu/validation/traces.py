"""Traces of published jobs, kept in a folder: each captured once, evaluated at any batch."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any

from whichgpu.errors import CaptureError
from whichgpu.graph import Graph, Job
from whichgpu.references import Reference, source_sum
from whichgpu.validation.resolve import Case
from whichgpu.validation.spread import Failed, spread

SCHEMA = "whichgpu.trace/1"
# Raise it when what capturing records of a step changes: everything kept is stale then.
CAPTURE_GENERATION = 2
_PACKAGES = ("torch", "timm", "transformers")
_TIMEOUT_S = 600.0

Document = dict[str, Any]
Tell = Callable[[int, int, str], None]
"""Called with how many are done, of how many, and the one just done."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A trace to capture: at every batch, or where that is None not."""

    job: Reference
    batch: int | None = None


class Traces:
    """Traces in a folder.

    Args:
        folder: Where they are; made when something is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Rows of one job often follow each other.
        self._last: tuple[Path, Document] | None = None

    def job(self, case: Case) -> Job:
        """Return the job of a case at its batch.

        Raises:
            CaptureError: If it has not been captured, or could not be; the message says why.
        """
        if case.job is None:
            return Job(case.row.model, Graph((case.op,)), 1, precision=case.precision.name)
        from whichgpu.references.trace import job_at

        found = self._find(case.job)
        if found is not None and "not_affine" in found:
            found = self._find(case.job, case.batch)
        if found is None:
            raise CaptureError("it has not been captured")
        if "failed" in found:
            raise CaptureError(_why(found["failed"]))
        job = job_at(found, case.batch, case.precision.name)
        return replace(job, graph=replace(job.graph, mode="fused")) if case.compiled else job

    def capture_missing(
        self, cases: Iterable[Case], processes: int, tell: Tell | None = None, timeout_s: float = _TIMEOUT_S
    ) -> int:
        """Capture what `job` needs for `cases` and is not kept; return how many traces that were.

        A job that cannot be captured, or whose capture crashes or hangs, is kept as that and not tried again.

        Args:
            cases: Rows that shall be predicted.
            processes: How many to capture at a time.
            tell: Called after each.
            timeout_s: How long one may take.
        """
        wanted = dict.fromkeys(Wanted(c.job, c.batch) for c in cases if c.job is not None)
        jobs = dict.fromkeys(w.job for w in wanted)
        done = self._capture([Wanted(job) for job in jobs], processes, tell, timeout_s)
        at_one_batch = {job for job in jobs if "not_affine" in (self._find(job) or {})}
        return done + self._capture([w for w in wanted if w.job in at_one_batch], processes, tell, timeout_s)

    def _capture(self, wanted: Sequence[Wanted], processes: int, tell: Tell | None, timeout_s: float) -> int:
        missing = [w for w in wanted if self._find(w.job, w.batch) is None]
        for done, (one, result) in enumerate(spread(partial(_trace, self.folder), missing, processes, timeout_s), 1):
            if isinstance(result, Failed):
                self._keep(self._path(one), {"failed": result.reason})
            if tell is not None:
                tell(done, len(missing), one.job.name)
        return len(missing)

    def keep(self, wanted: Wanted, found: Document) -> None:
        """Keep a trace, as that of all jobs that run the same."""
        self._keep(self._path(Wanted(_same(wanted.job, found), wanted.batch)), found)

    def _find(self, job: Reference, batch: int | None = None) -> Document | None:
        for torch_major, merged in product(*((job.torch_major, 2), (job.merged, False))):
            kept_as = replace(job, torch_major=torch_major, merged=merged)
            found = self._load(self._path(Wanted(kept_as, batch)))
            if found is not None and (kept_as == job or kept_as == _same(job, found)):
                return found
        return None

    def _path(self, wanted: Wanted) -> Path:
        job = wanted.job
        shape = "x".join(map(str, job.sample))
        merged = "merged" if job.merged else ""
        parts = (job.name, job.task, job.precision, job.layout, shape, f"torch{job.torch_major}", merged)
        at = "" if wanted.batch is None else f".{wanted.batch}"
        name = ".".join(re.sub(r"[^\w-]+", "-", part) for part in parts if part)
        return self.folder / f"{name}{at}.{trace_key(job)}.json.gz"

    def _load(self, path: Path) -> Document | None:
        if self._last is None or self._last[0] != path:
            try:
                document = json.loads(gzip.decompress(path.read_bytes()))
            except (OSError, EOFError, ValueError):
                return None
            if document.get("schema") != SCHEMA:
                return None
            self._last = path, document
        return self._last[1]

    def _keep(self, path: Path, found: Document) -> None:
        document = {"schema": SCHEMA, **found}
        part = path.with_suffix(".part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            part.write_bytes(gzip.compress(json.dumps(document, separators=(",", ":")).encode(), 6))
            part.replace(path)
            self._last = None
        except OSError:
            with suppress(OSError):
                part.unlink()


def _same(job: Reference, found: Document) -> Reference:
    """Return which of the jobs that run the same as `job` is kept, by what its trace says of itself."""
    if job.task == "infer" and not found.get("depends_on_torch", True):
        job = replace(job, torch_major=2)
    return job if found.get("merges", True) else replace(job, merged=False)


def _trace(folder: Path, wanted: Wanted) -> None:
    """Capture one trace and keep it; runs in a process of its own."""
    import gc
    import warnings

    from whichgpu.references.trace import trace, trace_at

    warnings.simplefilter("ignore")
    found = trace(wanted.job) if wanted.batch is None else trace_at(wanted.job, wanted.batch)
    Traces(folder).keep(wanted, found)
    if not gc.get_freeze_count():
        # Each recording begins with a collection, which need not look at the frameworks again.
        gc.collect()
        gc.freeze()


def _why(reason: str) -> str:
    """Return why a job could not be captured, in words that hold for all jobs it happens to."""
    if reason.startswith("RuntimeError: Unknown model"):
        return "the installed timm has no model of that name"
    return f"capturing it failed: {reason}"


def trace_key(job: Reference) -> str:
    """Return a checksum of all a trace hangs on: the job, the code that defines it, the libraries' versions."""
    key = [asdict(job), CAPTURE_GENERATION, _versions(), source_sum(job)]
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]


@cache
def _versions() -> tuple[str, ...]:
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return tuple(found)
