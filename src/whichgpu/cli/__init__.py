"""The command line: arguments in, text out, one small file a command, no computation."""

from whichgpu.cli.main import main

__all__ = ["main"]
