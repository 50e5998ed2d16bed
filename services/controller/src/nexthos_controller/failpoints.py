"""Named moments at which a test may have this very process killed, as a power cut would.

`reach(point)` does nothing unless the environment variable NEXTHOS_FAULT names the point; then the
process ends by SIGKILL, with nothing flushed and nothing cleaned up. NEXTHOS_FAULT=point:n dies when
the point is reached for the n-th time.
"""

from __future__ import annotations

import os
import signal

_reached: dict[str, int] = {}


def reach(point: str) -> None:
    """Die here if a test asked for it."""
    wanted = os.environ.get("NEXTHOS_FAULT")
    if wanted is None:
        return
    name, _, count = wanted.partition(":")
    if name == point:
        _reached[point] = _reached.get(point, 0) + 1
        if _reached[point] >= int(count or 1):
            os.kill(os.getpid(), signal.SIGKILL)
