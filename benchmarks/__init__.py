"""Scripts that calibrate, validate and time whichgpu; no part of the package."""
