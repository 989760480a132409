"""Reading files of measurements: CSV, gzipped or not, of any of the published schemas, row by row."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from whichgpu.errors import MeasurementFileError
from whichgpu.units import MILLI

_GZIP = b"\x1f\x8b"
# What a header must have, by kind of file: one row a run, medians of runs, one row a kernel.
_SCHEMAS: dict[str, tuple[str, ...]] = {
    "runs": ("gpu", "gpu_count", "task", "model", "precision", "batch_per_gpu", "throughput", "step_ms"),
    "medians": ("gpu", "gpu_count", "model", "precision", "batch_per_gpu", "throughput_median"),
    "kernels": ("gpu", "op", "latency_ms", "m", "n", "k", "rows", "cols"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file of measurements; empty text and None are what it does not say.

    Attributes:
        file: Name of the file.
        line: Its line, the header being 1.
        source: Who measured: "timm", "lambda", "neusight-kernels".
        gpu: What they call the device.
        gpu_count: How many of them ran the job; 0 on a CPU.
        framework: Such as "pytorch".
        framework_version: Such as "1.12" or "1.9.0a0+df837d0".
        task: "train", "infer" or "kernel".
        model: Reference of the job, or the kernel's operation.
        precision: As the file names it.
        layout: "nchw", "nhwc" or "".
        compiled: Whether torch.compile ran it; None if not said.
        batch_per_gpu: Samples a step and device.
        input_shape: "3x224x224", "seq 512".
        optimizer: "sgd(momentum=0.9)".
        throughput: Units a second over all devices.
        unit: Of the throughput: "img/s".
        step_s: Time of a step, or of a kernel, in seconds.
        peak_memory_mib: Peak memory; what exactly, the notes say.
        notes: Free text.
        sizes: Columns of a kernel: "m", "rows", "in_ch".
    """

    file: str
    line: int
    source: str
    gpu: str
    gpu_count: int
    framework: str
    framework_version: str
    task: str
    model: str
    precision: str
    layout: str
    compiled: bool | None
    batch_per_gpu: float | None
    input_shape: str
    optimizer: str
    throughput: float | None
    unit: str
    step_s: float | None
    peak_memory_mib: float | None
    notes: str
    sizes: Mapping[str, int] = field(default_factory=dict)


def read_rows(path: str | Path) -> Iterator[Row]:
    """Yield the rows of the file at `path`, in its order; the file is never held as a whole.

    Raises:
        MeasurementFileError: If the file cannot be read, is no CSV of a known schema, or a cell that must be a number
            is none; the message names the file and the line.
    """
    path = Path(path)
    with _opened(path) as text:
        try:
            reader = csv.reader(text)
            header = [name.strip() for name in next(reader, [])]
            kind = _kind(path.name, header)
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise MeasurementFileError(
                        f"{path.name}, line {reader.line_num}: {len(cells)} cells; its header has {len(header)}."
                    )
                yield _row(path.name, reader.line_num, kind, dict(zip(header, cells, strict=True)))
        except UnicodeDecodeError as error:
            raise MeasurementFileError(f"{path.name}: is no text in UTF-8: {error.reason}.") from None
        except csv.Error as error:
            raise MeasurementFileError(f"{path.name}: is no CSV: {error}.") from None
        except (gzip.BadGzipFile, EOFError) as error:
            raise MeasurementFileError(f"{path.name}: is a broken gzip file: {error}.") from None


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    try:
        with path.open("rb") as file:
            packed = file.read(len(_GZIP)) == _GZIP
    except OSError as error:
        raise MeasurementFileError(
            f"{path}: cannot be read: {error.strerror}. Name a .csv or .csv.gz file of measurements."
        ) from None
    # "-sig": a spreadsheet may have put a byte-order mark in front.
    with gzip.open(path, "rb") if packed else path.open("rb") as file:
        yield io.TextIOWrapper(cast("IO[bytes]", file), encoding="utf-8-sig", newline="")


def _kind(file: str, header: list[str]) -> str:
    for kind, needed in _SCHEMAS.items():
        if set(needed) <= set(header):
            return kind
    missing = [name for name in _SCHEMAS["runs"] if name not in header]
    raise MeasurementFileError(
        f"{file}: its header lacks {', '.join(missing)}; expected the columns docs/validation.md describes."
    )


def _row(file: str, line: int, kind: str, cells: dict[str, str]) -> Row:
    where = f"{file}, line {line}"
    if kind == "kernels":
        return _kernel(file, line, where, cells)
    text = {name: cells.get(name, "").strip() for name in cells}
    step_ms = _number(where, "step_ms", text.get("step_ms", ""))
    compiled = _number(where, "compiled", text.get("compiled", ""))
    medians = kind == "medians"
    return Row(
        file=file,
        line=line,
        source=text.get("source") or ("lambda" if medians else ""),
        gpu=text["gpu"],
        gpu_count=int(_number(where, "gpu_count", text["gpu_count"]) or 0),
        framework=text.get("framework") or ("pytorch" if medians else ""),
        framework_version=text.get("framework_version", ""),
        task=text.get("task") or ("train" if medians else ""),
        model=text["model"],
        precision=text["precision"],
        layout=text.get("layout", ""),
        compiled=None if compiled is None else bool(compiled),
        batch_per_gpu=_number(where, "batch_per_gpu", text["batch_per_gpu"]),
        input_shape=text.get("input_shape", ""),
        optimizer=text.get("optimizer", ""),
        throughput=_number(where, "throughput", text["throughput_median" if medians else "throughput"]),
        unit=text.get("unit", ""),
        step_s=None if step_ms is None else step_ms * MILLI,
        peak_memory_mib=_number(where, "peak_mem_mib", text.get("peak_mem_mib", "")),
        notes=text.get("notes", ""),
    )


# Columns of a kernel's sizes, and of the pooled ones of a convolution.
_SIZES = ("b", "m", "n", "k", "rows", "cols", "in_ch", "out_ch", "kernel_size", "input_size", "stride", "padding")


def _kernel(file: str, line: int, where: str, cells: dict[str, str]) -> Row:
    latency_ms = _number(where, "latency_ms", cells["latency_ms"])
    sizes = {name: _number(where, name, cells.get(name, "")) for name in _SIZES}
    return Row(
        file=file,
        line=line,
        source="neusight-kernels",
        gpu=cells["gpu"].strip(),
        gpu_count=1,
        framework="pytorch",
        framework_version=cells.get("torch", "").strip(),
        task="kernel",
        model=cells["op"].strip(),
        precision=cells.get("precision", "").strip() or "fp32",
        layout="",
        compiled=False,
        batch_per_gpu=None,
        input_shape="x".join(str(int(v)) for v in sizes.values() if v is not None),
        optimizer="",
        throughput=None,
        unit="",
        step_s=None if latency_ms is None else latency_ms * MILLI,
        peak_memory_mib=None,
        notes="",
        sizes={name: int(value) for name, value in sizes.items() if value is not None},
    )


def _number(where: str, name: str, text: str) -> float | None:
    text = text.strip()
    if not text or text.casefold() in ("nan", "none", "null"):
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not -1e300 < value < 1e300:
        raise MeasurementFileError(f"{where}: {name} is {text!r}; expected a number, or nothing.")
    return value
