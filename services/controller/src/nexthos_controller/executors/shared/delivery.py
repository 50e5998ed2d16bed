"""Whether what comes in goes out, from an engine's own counts; and how often an engine is asked for them.

Comes in: counts, the time. Goes out: a problem, or none. Pure but for the pace, which all engines share.
"""

from __future__ import annotations

from nexthos_shared.backoff import jittered
from nexthos_shared.reasons import Problem, Reason

EVERY = 30.0  # seconds between two questions to one engine
AT_MOST = 10.0  # questions a second to all engines: an answer costs an engine and us 1 or 2 ms
SILENT_FOR = 60.0  # seconds in which nothing went out
MESSAGES = 5  # that came in meanwhile, at least


class Delivery:
    """Of one life. `from_nothing`: its counts begin with it."""

    def __init__(self, *, from_nothing: bool = True) -> None:
        self.problem: Problem | None = None
        self._from_nothing = from_nothing
        self._sent: int | None = None
        self._received = 0  # when something went out last
        self._since = 0.0
        self._due = 0.0

    def is_due(self, now: float, pace: Pace) -> bool:
        """Whether it is to be asked now; then not again for some time."""
        if now < self._due or not pace.allows(now):
            return False
        self._due = now + jittered(EVERY, 0.1)
        return True

    def take(self, received: int, sent: int, now: float) -> None:
        """What was counted by `now`, seconds of any clock."""
        if self._sent is None and sent == 0 and self._from_nothing:
            self._sent, self._received, self._since = 0, 0, now
        elif sent != self._sent:
            self._sent, self._received, self._since = sent, received, now
            self.problem = None
        came, lasts = received - self._received, now - self._since
        if self.problem is None and came >= MESSAGES and lasts >= SILENT_FOR:
            words = f"{came} messages came in, and for {lasts:.0f} s none has gone out"
            self.problem = Problem(Reason.NOT_DELIVERING, words)


class Pace:
    """At most so many a second, all together. Who is refused asks again at its next look."""

    def __init__(self, at_most: float = AT_MOST) -> None:
        self._gap = 1 / at_most
        self._next = 0.0

    def allows(self, now: float) -> bool:
        """Whether one more may be asked at `now`."""
        if now < self._next:
            return False
        self._next = max(self._next, now - 1) + self._gap
        return True


PACE = Pace()
