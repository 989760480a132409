"""Will it fit: the largest batch, and the changes that make a job fit, each with its cost.

`fit` is the function; the module of the same name is imported first so that the function stays the package's attribute.
"""

from whichgpu.fit.change import Change
from whichgpu.fit.family import BuiltIn, CapturedTwice, Family, Fixed
from whichgpu.fit.fit import Fit, fit
from whichgpu.fit.largest import Largest
from whichgpu.fit.plan import Outcome, Plan

__all__ = ["BuiltIn", "CapturedTwice", "Change", "Family", "Fit", "Fixed", "Largest", "Outcome", "Plan", "fit"]
