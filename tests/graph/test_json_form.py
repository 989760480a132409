import copy
import json
from typing import Any

import pytest

from tests.graph.jobs import linear_job
from whichgpu.errors import GraphError, SchemaError, WhichGpuError
from whichgpu.graph import job_from_document, job_to_document


def document() -> dict[str, Any]:
    form: dict[str, Any] = json.loads(json.dumps(job_to_document(linear_job())))
    return form


def test_a_job_comes_back_whole_with_its_storages() -> None:
    job = linear_job()
    back = job_from_document(document())
    assert back == job
    for ours, theirs in zip(job.graph.ops, back.graph.ops, strict=True):
        assert [t.storage for t in ours.input_tensors()] == [t.storage for t in theirs.input_tensors()]
        assert [t.storage for t in ours.output_tensors()] == [t.storage for t in theirs.output_tensors()]
        assert list(ours.attributes) == list(theirs.attributes)


def test_a_newer_schema_is_refused_by_name() -> None:
    form = document() | {"schema": "whichgpu.job/2"}
    with pytest.raises(SchemaError, match=r"whichgpu\.job/2.*newer than 'whichgpu\.job/1'"):
        job_from_document(form)


@pytest.mark.parametrize("schema", ["whichgpu.comparison/1", "whichgpu.job", "whichgpu.job/x", 1, None])
def test_another_schema_is_refused(schema: object) -> None:
    with pytest.raises(SchemaError, match=r"whichgpu\.job/1"):
        job_from_document(document() | {"schema": schema})


@pytest.mark.parametrize("not_a_document", [None, [], "text", 3, {}])
def test_what_is_not_a_document_is_refused(not_a_document: object) -> None:
    with pytest.raises(SchemaError, match="Not a"):
        job_from_document(not_a_document)


def all_paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(p for key, child in children for p in all_paths(child, (*path, key)))]


@pytest.mark.parametrize("replacement", ["x", -7, None, [], {}, 1e9, [["a"]]])
def test_damage_anywhere_is_refused_in_words_or_still_a_sound_job(replacement: Any) -> None:
    whole = document()
    refused = 0
    for path in all_paths(whole)[1:]:
        broken = copy.deepcopy(whole)
        at = broken
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = replacement
        try:
            job_from_document(broken)
        except WhichGpuError as error:
            refused += 1
            assert str(error)
    assert refused > 10


@pytest.mark.parametrize("key", [k for k in document() if k != "schema"])
def test_a_missing_part_is_named(key: str) -> None:
    form = document()
    del form[key]
    with pytest.raises(GraphError, match=key):
        job_from_document(form)
