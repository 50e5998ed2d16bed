"""Waiting: longer after each failure in a row, and never in step with others that fail for the same cause."""

from __future__ import annotations

import random
from dataclasses import dataclass

JITTER = 0.2  # up to a fifth less or more
MOST_DOUBLINGS = 60


@dataclass(frozen=True, slots=True)
class Backoff:
    """`first` seconds after one failure, doubling with each one that follows, up to `last` seconds."""

    first: float
    last: float

    def after(self, failures: int, draw: float | None = None) -> float:
        """Seconds to wait after that many failures in a row. `draw`: 0 to 1, where chance must not decide."""
        doublings = min(max(failures - 1, 0), MOST_DOUBLINGS)
        return jittered(min(self.first * 2.0**doublings, self.last), draw=draw)


def jittered(seconds: float, part: float = JITTER, *, draw: float | None = None) -> float:
    """`seconds`, up to that part of them less or more. `draw`: 0 to 1, where chance must not decide."""
    draw = random.random() if draw is None else draw
    return seconds * (1 + part * (2 * draw - 1))
