"""Small training steps that the tests of capturing share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from whichgpu.capture import capture, phantom_gpu
from whichgpu.graph import Job

pytest.importorskip("torch")


@pytest.fixture
def phantom() -> Iterator[None]:
    with phantom_gpu():
        yield


@pytest.fixture
def record() -> Callable[..., Job]:
    def captured(step: Callable[[], Any], **options: Any) -> Job:
        return capture(step, name="test", samples_per_step=1, **options)

    return captured


@pytest.fixture
def names() -> Callable[..., Counter[str]]:
    def counted(job: Job, phase: str | None = None) -> Counter[str]:
        return Counter(op.name for op in job.graph.ops if phase in (None, op.phase))

    return counted
