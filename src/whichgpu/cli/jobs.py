"""whichgpu jobs: the built-in jobs."""

from __future__ import annotations


def jobs() -> None:
    """List the built-in jobs."""
    from whichgpu.cli.output import Output
    from whichgpu.report.job_list import render_jobs
    from whichgpu.workloads import definition, workload_names

    place = Output(None)
    place.write(render_jobs([definition(name) for name in workload_names()], place.page()))
