"""Places where `make chaos` kills the process: `ZAPD_FAILPOINT=send.claimed:40` is kill -9 when the 40th send is there.

A crash between two lines is the only way to show that nothing accepted is lost there. Without the variable a failpoint
costs one comparison.
"""

import os
import signal

_NAME, _, _COUNT = os.environ.get("ZAPD_FAILPOINT", "").partition(":")
_left = int(_COUNT or 1)


def reached(name: str) -> None:
    """Kill this process here, if it was started with this failpoint and reached it often enough."""
    global _left  # noqa: PLW0603 - counts down in one place, in test runs only
    if name != _NAME:
        return
    _left -= 1
    if _left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
