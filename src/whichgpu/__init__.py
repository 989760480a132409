"""whichgpu: would a GPU help my training job, which one, how long, how much money, and why.

Importing this brings no framework.
"""

__version__ = "0.1.0"
