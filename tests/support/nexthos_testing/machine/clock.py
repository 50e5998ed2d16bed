"""A loop in which time passes only when nothing is left to do at this moment.

Graces, timeouts, backoff and hanging calls take no time then, and the same events always come in the
same order. Nothing in such a loop may wait for a socket, a process or a thread: they have no part in it.
"""

from __future__ import annotations

import asyncio
import selectors


class VirtualLoop(asyncio.SelectorEventLoop):
    """Seconds since the loop was made are `time()`."""

    def __init__(self) -> None:
        self._leap = _Leap()
        super().__init__(self._leap)

    def time(self) -> float:
        """See the module."""
        return self._leap.now


class _Leap(selectors.SelectSelector):
    """Instead of waiting, it is later."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Nothing ever happens outside."""
        if timeout is None:
            raise RuntimeError("all that is left waits for something that never comes")
        self.now += timeout
        return []
