"""What rows of NVIDIA's DeepLearningExamples mean, in NVIDIA's own tables and in Lambda's runs of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from whichgpu.references.nvidia_gnmt import SENTENCE
from whichgpu.references.nvidia_tacotron2 import FRAMES
from whichgpu.references.nvidia_waveglow import SEGMENT
from whichgpu.references.reference import Recipe
from whichgpu.validation.rows import Row

_TABLES = "nv-dle:PyTorch/"
# Their folders of one job each, and how its definition is named.
_NAMES = {
    "SSD": "nv:ssd300_resnet50",
    "NCF": "nv:ncf_ml20m",
    "GNMT": "nv:gnmt",
    "ConvNets/resnet50v1.5": "nv:resnet50_v1.5",
}
# Lambda's names say more than the definitions' in some rows: the beginning decides.
_BEGINNINGS = {
    "nv:gnmt": "nv:gnmt",
    "nv:tacotron2": "nv:tacotron2",
    "nv:waveglow": "nv:waveglow",
    "nv:ncf": "nv:ncf_ml20m",
}
# Folders of several jobs: what the section of a table must say for each.
_SECTIONS = {
    "BERT": {"Fine-tuning": "nv:bert_large_squad"},
    "Transformer-XL": {
        "Base model": "nv:transformerxl_base_adaptive",
        "Large model": "nv:transformerxl_large_adaptive",
    },
}
# Shapes of samples where rows do not give them in a form of their own.
_SAMPLES: dict[str, tuple[int, ...]] = {
    "nv:bert_base_squad": (384,),
    "nv:bert_large_squad": (384,),
    "nv:transformerxl_base_adaptive": (192,),
    "nv:transformerxl_large_adaptive": (384,),
    "nv:ssd300_resnet50": (3, 300, 300),
    "nv:resnet50_v1.5": (3, 224, 224),
}
# What throughputs count of a sample: tokens of both languages, frames, audio samples.
_COUNTED = {"nv:gnmt": 2 * SENTENCE, "nv:tacotron2": FRAMES, "nv:waveglow": SEGMENT}
# Scripts that kept master weights themselves or through apex's level O2, always or before PyTorch 1.13.
_ALWAYS_O2 = ("nv:bert", "nv:transformerxl", "nv:gnmt")
_ONCE_O2 = ("nv:ssd", "nv:ncf")
_FIRST_NATIVE = (1, 13)
# SSD's tables of these versions are of channels innermost: by its times, which fit that and not the other.
# PyTorch of NVIDIA's containers by year and month. Source: NVIDIA, Frameworks Support Matrix.
_CONTAINERS = (
    ((20, 1), (1, 4)),
    ((20, 6), (1, 6)),
    ((20, 10), (1, 7)),
    ((21, 2), (1, 8)),
    ((21, 5), (1, 9)),
    ((21, 9), (1, 10)),
    ((22, 1), (1, 11)),
    ((22, 4), (1, 12)),
    ((22, 8), (1, 13)),
    ((23, 3), (2, 0)),
)


@dataclass(frozen=True, slots=True)
class NvidiaRow:
    """What a row means.

    Attributes:
        name: Reference of its job; "" where the row is of no single step of a job that is known.
        sample: Shape of a sample; () where its definition fixes it.
        counted: What a throughput counts of one sample; None where the row's unit says it.
        layout: Of images where the row does not say; "" where that is the common one.
        recipe: How half precision is reached.
        torch: Major and minor version of PyTorch, if known.
    """

    name: str
    sample: tuple[int, ...]
    counted: float | None
    layout: str
    recipe: Recipe
    torch: tuple[int, int] | None


def is_nvidia(row: Row) -> bool:
    """Return whether a row is of NVIDIA's examples."""
    return row.model.startswith(("nv:", "nv-dle:"))


def nvidia_row(row: Row, sample: tuple[int, ...], torch: tuple[int, int] | None) -> NvidiaRow:
    """Return what a row means, given what its cells say of the sample's shape and the version of PyTorch."""
    name = _name(row)
    version = torch or _version_of_container(row.notes)
    return NvidiaRow(
        name,
        () if name in _COUNTED or name == "nv:ncf_ml20m" else sample or _SAMPLES.get(name, ()),
        _COUNTED.get(name),
        "channels_last" if row.model == f"{_TABLES}SSD" and (version or _FIRST_NATIVE) >= _FIRST_NATIVE else "",
        _recipe(row, name, version),
        version,
    )


def _name(row: Row) -> str:
    folder = row.model.removeprefix(_TABLES)
    if folder == row.model:
        return next((name for begin, name in _BEGINNINGS.items() if row.model.startswith(begin)), row.model)
    if folder in _SECTIONS:
        return next((name for section, name in _SECTIONS[folder].items() if section in row.notes), "")
    return _NAMES.get(folder, row.model)


def _recipe(row: Row, name: str, version: tuple[int, int] | None) -> Recipe:
    native = version is not None and version >= _FIRST_NATIVE
    if row.precision == "fp16" or name.startswith(_ALWAYS_O2) or (name.startswith(_ONCE_O2) and not native):
        return "o2"
    return "autocast-scaled"


def _version_of_container(notes: str) -> tuple[int, int] | None:
    """Return the version of PyTorch in "container=pytorch-20.06-py3"; None if no container is named."""
    match = re.search(r"container=(?:pytorch-|PyTorch )?(\d\d)\.(\d\d)", notes)
    if match is None:
        return None
    month = int(match[1]), int(match[2])
    return max((version for since, version in _CONTAINERS if since <= month), default=None)
