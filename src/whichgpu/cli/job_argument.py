"""What a person may write where a job is asked for: the name of a built-in job, or a file a job was saved to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from whichgpu.errors import GraphError, OptionError, UnknownNameError

if TYPE_CHECKING:
    from whichgpu.graph import Job


def is_file(job: str) -> bool:
    """Return whether `job` names a file rather than a built-in job, which wins where both exist."""
    from whichgpu.workloads import workload_names

    if job in workload_names():
        return False
    try:
        return Path(job).is_file() or job.endswith(".json")
    except OSError:  # a name no file can have, or a folder that may not be read
        return job.endswith(".json")


def load_job(job: str, batch: int | None, precision: str | None, layout: str | None) -> Job:
    """Return the job that `job` names, with the options asked for.

    Raises:
        UnknownNameError: If it is neither a built-in job nor a file.
        OptionError: If the job does not have such a batch, precision or layout.
        GraphError: If the file is broken; SchemaError if it is newer than this version reads.
    """
    from whichgpu.workloads import workload, workload_names

    if not is_file(job):
        try:
            return workload(job, batch=batch, precision=precision, layout=layout)
        except UnknownNameError as error:
            if error.kind == "job":
                raise UnknownNameError("built-in job or job file", job, workload_names(), "whichgpu jobs") from None
            raise
    loaded = _read(Path(job))
    for option, wanted, has in (("batch", batch, loaded.samples_per_step), ("layout", layout, loaded.layout)):
        if wanted is not None and wanted != has:
            raise OptionError(
                f"--{option} {wanted}: {job} was captured with {option} {has or 'none'}. Capture it again to change it."
            )
    return loaded


def _read(path: Path) -> Job:
    import json

    from whichgpu.graph import job_from_document

    text = ""

    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text)
    except FileNotFoundError:
        raise GraphError(f"There is no file {path}.") from None
    except OSError as error:
        raise GraphError(f"Cannot read {path}: {error.strerror}.") from None
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        # Who names another kind of file shall not be told to write over it.
        is_job = text.lstrip().startswith("{")
        again = (
            f"; save it again: whichgpu capture SCRIPT.py -o {path}" if is_job else ", or a script, such as train.py."
        )
        raise GraphError(
            f"{path} is not JSON, or not all of it: {error}. Expected a job saved as whichgpu.job/1{again}"
        ) from None
    try:
        return job_from_document(document)
    except GraphError as error:
        raise type(error)(f"{path}: {error}") from error
