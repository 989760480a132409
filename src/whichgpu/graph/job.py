"""A job: a graph of one training step and what is needed to speak of epochs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from whichgpu.graph.graph import Graph
from whichgpu.graph.op import Attribute


@dataclass(frozen=True, slots=True)
class Job:
    """One training job.

    Attributes:
        name: What a person calls it.
        graph: The ops of one optimizer step.
        samples_per_step: Samples one step learns from, over all accumulated micro-batches.
        samples_per_epoch: Samples of one pass over the data; None if unknown.
        precision: A key of `whichgpu.graph.precision.PRECISIONS`.
        layout: "nchw" or "channels_last" for image models, "" where the question does not arise.
        sample: What one sample is: "image", "sequence of 1024 tokens".
        source: Where the graph came from: framework with version, model package with version.
        notes: What a reader must know, such as why a result is approximate.
        options: How it was built (batch, sequence length, ...), as plain JSON values.
    """

    name: str
    graph: Graph
    samples_per_step: int
    samples_per_epoch: int | None = None
    precision: str = "fp32"
    layout: str = ""
    sample: str = "sample"
    source: str = ""
    notes: tuple[str, ...] = ()
    options: Mapping[str, Attribute] = field(default_factory=dict)

    @property
    def steps_per_epoch(self) -> int | None:
        """Steps of one epoch, the last one possibly smaller; None if the epoch's length is unknown."""
        if self.samples_per_epoch is None:
            return None
        return -(-self.samples_per_epoch // self.samples_per_step)
