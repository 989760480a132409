"""What ends a script once all that is needed was seen."""

from __future__ import annotations


class Stopped(BaseException):
    """Raised inside of the script; frameworks clean up and let it through, as they do for KeyboardInterrupt."""
