"""The JSON form of a calibration, ``whichgpu.calibration/1``; docs/calibration.md describes it field by field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

from whichgpu.errors import GraphError, SchemaError
from whichgpu.graph import op_from_form, op_to_form
from whichgpu.graph.json_form import check_schema
from whichgpu.measure.calibration.calibration import Calibration, SectionSummary
from whichgpu.measure.calibration.probe import AnchorProbe
from whichgpu.measure.calibration.record import (
    AnchorRecord,
    FailedRecord,
    HostRecord,
    KernelRecord,
    Power,
    Record,
    TransferRecord,
)

SCHEMA = "whichgpu.calibration"
SCHEMA_VERSION = 1

_KINDS: dict[str, type[Any]] = {
    "kernel": KernelRecord,
    "transfer": TransferRecord,
    "host": HostRecord,
    "anchor": AnchorRecord,
    "failed": FailedRecord,
}
_KIND_OF = {made: name for name, made in _KINDS.items()}


def calibration_to_document(calibration: Calibration) -> dict[str, Any]:
    """Return the JSON form of a calibration, made of dicts, lists, strings and numbers only."""
    return {
        "schema": f"{SCHEMA}/{SCHEMA_VERSION}",
        "whichgpu": calibration.version,
        "started": calibration.started,
        "seconds": round(calibration.seconds, 1),
        "finished": calibration.finished,
        "quick": calibration.quick,
        "notes": list(calibration.notes),
        "machine": dict(calibration.machine),
        "sections": {name: asdict(summary) for name, summary in calibration.sections.items()},
        "records": [_to_form(record) for record in calibration.records],
    }


def calibration_from_document(document: object) -> Calibration:
    """Return the calibration of its JSON form.

    Raises:
        SchemaError: If the document is of another kind, newer, or broken; the message names what is wrong.
    """
    form = check_schema(document, SCHEMA, SCHEMA_VERSION)
    try:
        return Calibration(
            machine=_machine(form["machine"]),
            started=form["started"],
            seconds=float(form["seconds"]),
            finished=bool(form["finished"]),
            quick=bool(form["quick"]),
            version=str(form["whichgpu"]),
            notes=tuple(form["notes"]),
            sections={name: SectionSummary(**summary) for name, summary in form["sections"].items()},
            records=[_from_form(record) for record in form["records"]],
        )
    except (KeyError, TypeError, ValueError, AttributeError, GraphError) as error:
        raise SchemaError(f"Broken {form['schema']} document: {type(error).__name__} at {error}.") from error


def _machine(form: Any) -> dict[str, Any]:
    if not isinstance(form["device"]["name"], str):
        raise TypeError(f"device name {form['device']['name']!r}")
    return dict(form)


_TO_PLAIN: dict[str, Callable[[Any], Any]] = {
    "op": op_to_form,
    "ops": lambda ops: [op_to_form(op) for op in ops],
    "anchor": lambda anchor: {f.name: getattr(anchor, f.name) for f in fields(AnchorProbe) if f.name != "grow"},
    "power": lambda power: None if power is None else asdict(power) | {"throttled_by": list(power.throttled_by)},
}
_FROM_PLAIN: dict[str, Callable[[Any], Any]] = {
    "op": op_from_form,
    "ops": lambda forms: tuple(op_from_form(form) for form in forms),
    "anchor": lambda form: AnchorProbe(**form),
    "power": lambda form: None if form is None else Power(**form | {"throttled_by": tuple(form["throttled_by"])}),
}


def _to_form(record: Record) -> dict[str, Any]:
    form: dict[str, Any] = {"kind": _KIND_OF[type(record)]}
    for f in fields(record):
        value = getattr(record, f.name)
        form[f.name] = _TO_PLAIN[f.name](value) if f.name in _TO_PLAIN else value
    return form


def _from_form(form: dict[str, Any]) -> Record:
    values = {name: _FROM_PLAIN.get(name, lambda v: v)(value) for name, value in form.items() if name != "kind"}
    made = _KINDS.get(form["kind"])
    if made is None:
        raise ValueError(f"record of kind {form['kind']!r}; expected one of {', '.join(_KINDS)}")
    record: Record = made(**values)
    for name in ("seconds", "step_s"):
        value = values.get(name)
        if value is not None and not value > 0:
            raise ValueError(f"{record.name}: {name} is {value!r}; expected more than 0")
    return record
