"""Every error that whichgpu raises on purpose.

::

    WhichGpuError                 anything we expected could go wrong; `whichgpu` prints it and exits with 2
    ├── GraphError                a graph or job is broken (dangling storage, bad dtype, wrong shape)
    │   └── SchemaError           a JSON document is of another kind, or newer than this version reads
    ├── UnknownNameError          a job, device, provider or precision that is not listed; carries near names
    ├── DeviceFileError           a device file has a missing, negative or unknown field
    ├── MeasurementFileError      a file of measurements is no CSV of a known schema
    ├── OfferFileError            a provider's price file has a missing, negative or unknown field
    ├── PrecisionError            a device lacks the precision asked for
    ├── UnknownOpError            an op has no work rule and the caller asked for no bound
    ├── MissingExtraError         a framework is needed and not installed; names the extra
    ├── CaptureError              a step could not be captured
    │   ├── UnsupportedTorchError the installed torch is not one the phantom GPU is tested with
    │   └── ScriptError           a training script failed, or no step of it was seen; carries its own traceback
    ├── MeasureError              a job could not be trained on this machine
    ├── OptionError               an option has a value that makes no sense (batch 0)
    └── OutputError               a result could not be written

A message says what was wrong, what was expected and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

# So many names are told where none is near.
_FEW_NAMES = 12


class WhichGpuError(Exception):
    """Base of all errors whichgpu raises on purpose; its text is meant for the user."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """Let it cross from one process to another, whatever the arguments of its class are."""
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[WhichGpuError], args: tuple[object, ...], state: dict[str, object]) -> WhichGpuError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class GraphError(WhichGpuError):
    """A graph or job breaks a rule of the IR."""


class SchemaError(GraphError):
    """A JSON document is not what it was read as, or is newer than this version reads."""


class UnknownNameError(WhichGpuError):
    """A name that is not listed.

    Args:
        kind: What was looked up: "device", "job", "provider", "precision".
        name: What the user typed.
        known: All names that would have been accepted.
        listing: The command that lists them, such as ``whichgpu devices``.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], listing: str = "") -> None:
        self.kind = kind
        self.name = name
        names = list(known)
        self.near = near_names(name, names)
        hint = f" Did you mean {' or '.join(repr(n) for n in self.near)}?" if self.near else ""
        where = f" `{listing}` lists them all." if listing else ""
        if not hint and not where and 0 < len(names) <= _FEW_NAMES:
            where = f" Expected one of {', '.join(names)}."
        super().__init__(f"No {kind} is named {name!r}.{hint}{where}")


class DeviceFileError(WhichGpuError):
    """A device file has a missing, negative or unknown field; the message names the file and the field."""


class OfferFileError(WhichGpuError):
    """A provider's price file has a missing, negative or unknown field; the message names the file and the field."""


class MeasurementFileError(WhichGpuError):
    """A file of measurements cannot be read; the message names the file, the line and the column."""


class PrecisionError(WhichGpuError):
    """A device lacks the precision asked for; the message says what it would run instead."""


class UnknownOpError(WhichGpuError):
    """An op has no work rule; it is never priced as free."""


class MissingExtraError(WhichGpuError):
    """A library is needed that is not installed.

    Args:
        library: Import name of the missing library.
        extra: The extra of whichgpu that installs it.
        purpose: What it was needed for, completing "... is needed to".
    """

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        self.library = library
        self.extra = extra
        super().__init__(f"{library} is needed to {purpose} and is not installed. Run: pip install 'whichgpu[{extra}]'")


class CaptureError(WhichGpuError):
    """A step could not be captured."""


class UnsupportedTorchError(CaptureError):
    """The installed torch is not one the phantom GPU is tested with."""


class ScriptError(CaptureError):
    """A training script failed, or no step of it was seen.

    Args:
        message: What happened, in which pass.
        details: The script's own traceback, or the last lines it printed.
        exit_code: What the script left with; 0 if it ended in good order.
    """

    def __init__(self, message: str, details: str = "", exit_code: int = 0) -> None:
        self.details = details
        self.exit_code = exit_code
        super().__init__(message)


class MeasureError(WhichGpuError):
    """A job could not be trained on this machine."""


class OptionError(WhichGpuError):
    """An option has a value that makes no sense."""


class OutputError(WhichGpuError):
    """A result could not be written."""


# Above this a count is a slip of the keyboard: a year of steps, a nation's images.
LARGEST_COUNT = 999_999_999_999


def require_count(what: str, value: int) -> None:
    """Raise unless `value` is a count somebody may train with.

    Raises:
        OptionError: If it is below 1 or above `LARGEST_COUNT`.
    """
    if value < 1:
        raise OptionError(f"{what} {value}; expected 1 or more.")
    if value > LARGEST_COUNT:
        raise OptionError(f"{what} above {LARGEST_COUNT:,}; expected a smaller number.")


def near_names(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` of `known` that look like `name`, best first, ignoring case."""
    by_folded = {k.casefold(): k for k in known}
    folded = name.casefold()
    inside = sorted((k for k in by_folded if folded and folded in k), key=len)
    close = difflib.get_close_matches(folded, by_folded, n=count, cutoff=0.5)
    return [by_folded[k] for k in dict.fromkeys([*inside[:count], *close])][:count]
