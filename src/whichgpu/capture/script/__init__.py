"""Running an unmodified training script in child processes, and what is learnt from it. Imports no framework here."""

from whichgpu.capture.script.call import ScriptCall
from whichgpu.capture.script.passes import ScriptOptions, run_script
from whichgpu.capture.script.script_run import ScriptRun, TimedSteps

__all__ = ["ScriptCall", "ScriptOptions", "ScriptRun", "TimedSteps", "run_script"]
