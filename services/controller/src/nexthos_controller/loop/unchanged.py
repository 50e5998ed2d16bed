"""Pipelines at rest: a look that finds everything as the last one left it decides nothing.

Comes in: what a look sees, before it is thought about. Goes out: whether all of it was there when
nothing was left to do, and nothing was due since. Deciding is pure, so the same view can only lead to the
same: a resync of thousands costs a comparison each. What is kept is a hash, not the view.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from nexthos_controller.cache.definitions import Brief
from nexthos_controller.cache.executions import Observed
from nexthos_controller.reconcile import ConfigFacts


@dataclass(frozen=True, slots=True)
class Sight:
    """What may be different at each look at one pipeline."""

    brief: Brief
    observed: Observed
    config: ConfigFacts
    good_stored: bool
    around: Hashable  # what concerns all: places declared gone, brokers away, the last reconnect

    def mark(self, status: Hashable) -> int:
        """Another for another sight; `status` stands for what the status book holds."""
        seen = (self.brief, self.observed, self.config, self.good_stored, self.around)
        return hash((seen, status))


class Rest:
    """Marks of those that have nothing to do, and until when."""

    def __init__(self) -> None:
        self._marks: dict[str, tuple[int, float | None]] = {}

    def note(self, key: str, mark: int, look_again: float | None, now: float) -> None:
        """Nothing is left to do, until `look_again` seconds from `now`."""
        self._marks[key] = mark, None if look_again is None else now + look_again

    def holds(self, key: str, mark: int, now: float) -> bool:
        """Whether it is still at rest."""
        known, due = self._marks.get(key, (None, None))
        return known == mark and (due is None or now < due)

    def left(self, key: str, now: float) -> float | None:
        """Seconds until something is due, of one that is at rest."""
        due = self._marks[key][1]
        return None if due is None else max(due - now, 0.0)

    def forget(self, key: str) -> None:
        """Something is being done about it."""
        self._marks.pop(key, None)
