"""The JSON form of the answer: schema "whichgpu.fit/1", described in docs/json.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from whichgpu.fit.change import Change
from whichgpu.fit.fit import Fit
from whichgpu.fit.plan import Outcome
from whichgpu.memory.footprint import LEVEL

SCHEMA = "whichgpu.fit/1"
LIST_SCHEMA = "whichgpu.fits/1"


def fit_to_document(found: Fit) -> dict[str, Any]:
    """Return the document of one answer: dicts, lists, strings, numbers, booleans and None only."""
    line = found.timeline
    best = found.cheapest
    largest = found.largest
    return {
        "schema": SCHEMA,
        "job": found.job,
        "samples_per_step": found.batch,
        "precision": found.precision,
        "device": found.device,
        "label": found.label,
        "interval_level": LEVEL,
        **_outcome(found.now),
        "peak": {
            "phase": found.now.memory.peak_phase,
            "op": found.now.memory.peak_op,
            "module": found.now.memory.peak_module,
            "holders": dict(found.now.memory.holders),
            "modules": [{"module": name, "bytes": nbytes} for name, nbytes in found.now.memory.modules],
            "phases": dict(found.now.memory.phases),
        },
        "largest_batch": None
        if largest is None
        else {
            "samples_per_step": largest.batch,
            "sure_samples_per_step": largest.sure,
            "ends_data": largest.ends_data,
            "confirmation": largest.confirmation,
            "outcome": None if largest.outcome is None else _outcome(largest.outcome),
        },
        "cheapest_change": None if best is None else best.name,
        "changes": [_change(change) for change in found.changes],
        "timeline": {
            "phases": [{"phase": phase, "first_op": first} for phase, first in line.phases],
            "holders": {holder: values for holder, values in line.holders.items() if any(values)},
        },
        "notes": list(found.notes),
    }


def fits_to_json(found: Sequence[Fit]) -> str:
    """Return one answer as it is, or one document of schema "whichgpu.fits/1" that holds several, as text."""
    documents = [fit_to_document(each) for each in found]
    document = documents[0] if len(documents) == 1 else {"schema": LIST_SCHEMA, "fits": documents}
    return json.dumps(document, allow_nan=False) + "\n"


def _outcome(outcome: Outcome) -> dict[str, Any]:
    memory = outcome.memory
    return {
        "fits": memory.fits,
        "step_s": outcome.step_s,
        "memory": {
            "allocated_bytes": memory.allocated_bytes,
            "reserved_bytes": memory.reserved_bytes,
            "device_bytes": memory.device_bytes,
            "device_bytes_low": memory.device_bytes_low,
            "device_bytes_high": memory.device_bytes_high,
            "context_bytes": memory.context_bytes,
            "collective_bytes": memory.collective_bytes,
            "usable_bytes": memory.usable_bytes,
            "margin_bytes": memory.margin_bytes,
        },
    }


def _change(change: Change) -> dict[str, Any]:
    plan = change.outcome.plan
    return {
        "name": change.name,
        "how": change.how,
        "alters_training": change.alters,
        "precision": plan.precision or None,
        "checkpointed": plan.checkpointed,
        "optimizer": plan.optimizer or None,
        "adapters": plan.adapters,
        "micro_batches": plan.micro_batches,
        "processes": plan.processes,
        "assumed": list(change.outcome.assumed),
        **_outcome(change.outcome),
    }
