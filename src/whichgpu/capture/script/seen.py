"""What a pass saw of a script: its steps, its data, its options. Plain data that crosses between processes as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

Marker = Literal["", "optimizer", "optimizers", "backward", "function"]


@dataclass(slots=True)
class LoaderSeen:
    """A DataLoader.

    Attributes:
        dataset: Name of its dataset's class.
        samples: Samples in the dataset; None if it does not tell.
        batches: Batches of one pass over it; None likewise.
        batch: Samples of one batch, as it was told or as the first batch shows; None if neither tells.
        workers: Processes that load.
        rows: Rows of the first tensor in the first batch; None if there is none, or no batch yet.
    """

    dataset: str
    samples: int | None
    batches: int | None
    batch: int | None
    workers: int
    rows: int | None = None

    def is_like(self, other: LoaderSeen) -> bool:
        """Return whether the two load the same; what the first batch has shown of one is not known of the other yet."""
        known = {self.batch, other.batch} - {None}
        mine, its = (replace(loader, batch=None, rows=None) for loader in (self, other))
        return mine == its and len(known) < 2


@dataclass(slots=True)
class Interval:
    """What happened between the ends of two steps.

    Attributes:
        seconds: Wall time.
        loading_s: Part of it spent waiting for the step's batches.
        torch_s: Part of it spent in torch's functions, loading left out; 0 in the real pass, which does not watch them.
        apart_s: Part of it spent on what is no part of a step: evaluation, rollouts, loading for them.
        backward_calls: Backward passes that fill gradients, those inside of an optimizer's step left out.
        optimizer_steps: Steps of optimizers.
        backward_between: Backward passes after the first of these.
        training_calls: Calls of models from outside, with gradients.
        evaluation_calls: Calls of models from outside, without gradients.
        batches: Batches fetched, by loader.
        input_rows: First dimension of the first tensor given to a model in training; None if there was none.
        input_again: Calls in training whose first tensor a backward pass has come to already (optimizers like SAM go
            over a batch twice), and backward passes over the forward pass of the one before.
    """

    seconds: float = 0.0
    loading_s: float = 0.0
    apart_s: float = 0.0
    torch_s: float = 0.0
    backward_calls: int = 0
    optimizer_steps: int = 0
    backward_between: int = 0
    training_calls: int = 0
    evaluation_calls: int = 0
    batches: dict[str, int] = field(default_factory=dict)
    input_rows: int | None = None
    input_again: int = 0

    def continue_from(self, begun: Interval) -> None:
        """Add what happened in `begun`, which was the beginning of this one."""
        self.loading_s += begun.loading_s
        self.apart_s += begun.apart_s
        self.backward_calls += begun.backward_calls
        self.training_calls += begun.training_calls
        self.evaluation_calls += begun.evaluation_calls
        self.input_again += begun.input_again
        for key, count in begun.batches.items():
            self.batches[key] = self.batches.get(key, 0) + count
        self.input_rows = begun.input_rows or self.input_rows

    @property
    def beside(self) -> tuple[int, int]:
        """What is the least where there is a step and nothing else: calls without gradients, loaders read from."""
        return self.evaluation_calls, max(len(self.batches), 1)

    @property
    def shape(self) -> tuple[Any, ...]:
        """What two steps of a kind have in common."""
        return self.backward_calls, self.training_calls, self.evaluation_calls, tuple(sorted(self.batches.items()))


@dataclass(slots=True)
class Seen:
    """What one pass saw.

    Attributes:
        marker: What ended a step.
        optimizers: Class names of the optimizers a step runs through.
        intervals: One a step; the first one holds everything before the first step's end.
        loaders: By the key `Interval.batches` uses.
        recorded: Index of the interval that was recorded; None if none was.
        batches_wanted: Batches after which a framework ends an epoch, a share of all if it is a fraction; None for all.
        steps_wanted: Steps after which it ends training; None if it was told of none.
        before_first_s: Time that calls without gradients took before the first step, where they were many in a row.
        weight_format: dtype of most weights of the models called, as the real pass had them; "" if unknown.
        steps_on_remainders: Whether a framework is at work that makes a step of the batches left at an epoch's end.
        weights: How many numbers the optimizers update; 0 if none does.
        compile_requested: Whether most of what is trained is called through torch.compile.
        matmul_tf32: Whether it allowed TF32 for matrix products.
        loss_scaling: Whether a gradient scaler was at work.
        autocast: dtype autocast computed in, or "".
        world_size: Processes the script was to train with.
        wrappers: Names of the parallel wrappers it used.
        processes: What the processes run that it started, those of DataLoaders left out.
        files: Local files it was made of, for a cache.
        notes: What a reader must know.
    """

    marker: Marker = ""
    optimizers: list[str] = field(default_factory=list)
    intervals: list[Interval] = field(default_factory=list)
    loaders: dict[str, LoaderSeen] = field(default_factory=dict)
    recorded: int | None = None
    batches_wanted: int | float | None = None
    steps_wanted: int | None = None
    before_first_s: float = 0.0
    weight_format: str = ""
    steps_on_remainders: bool = False
    weights: int = 0
    compile_requested: bool = False
    matmul_tf32: bool = False
    loss_scaling: bool = False
    autocast: str = ""
    world_size: int = 1
    wrappers: list[str] = field(default_factory=list)
    processes: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def tell(self, note: str) -> None:
        """Note something for the reader, once."""
        if note not in self.notes:
            self.notes.append(note)

    def wrap(self, name: str) -> None:
        """Note that a wrapper of this name was used."""
        if name not in self.wrappers:
            self.wrappers.append(name)

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Seen:
        """Return what `to_document` described."""
        seen = cls(**document)
        seen.intervals = [Interval(**i) for i in document["intervals"]]
        seen.loaders = {key: LoaderSeen(**loader) for key, loader in document["loaders"].items()}
        return seen
