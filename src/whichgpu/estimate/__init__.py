"""Predictions: a job on a device -> step time with its interval, what bounds it, and what a reader must know.

`estimate` is the function; the module of the same name, where the result types live, is imported first so that the
function stays the package's attribute.
"""

from whichgpu.estimate.counted import CountedJob
from whichgpu.estimate.estimate import BOUNDS, Bound, Estimate, Interval, Share
from whichgpu.estimate.own_measurements import OwnMeasurement, job_key
from whichgpu.estimate.predict import estimate, estimate_all
from whichgpu.estimate.runnable import runnable_precision

__all__ = [
    "BOUNDS",
    "Bound",
    "CountedJob",
    "Estimate",
    "Interval",
    "OwnMeasurement",
    "Share",
    "estimate",
    "estimate_all",
    "job_key",
    "runnable_precision",
]
