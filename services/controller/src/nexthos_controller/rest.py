"""Pipelines at rest: a look that finds everything as the last one left it decides nothing.

Comes in: what a look sees, before it is thought about. Goes out: whether all of it was there when
nothing was left to do, and nothing was due since. Deciding is pure, so the same view can only lead to the
same: a resync of thousands costs a comparison each. What is kept is a hash, not the view.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, fields
from operator import attrgetter

from nexthos_controller.desired import Brief
from nexthos_controller.executors.base import Execution
from nexthos_controller.observe import Observed
from nexthos_controller.reconcile import ConfigFacts

# Whether they are ready is not known at once by a controller that starts anew: see `Sight.basis`.
_OF_AN_EXECUTION = attrgetter(
    *(f.name for f in fields(Execution) if f.name not in ("ready", "problem", "symptoms"))
)


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

    @property
    def is_unsure(self) -> bool:
        """Whether it is not known of something that runs whether it is ready."""
        return any(e.state == "running" and e.ready is None for e in self.observed.executions)

    def basis(self, entry: bytes | None, settings: Hashable) -> bytes | None:
        """The same for another process (see `seals`); `entry` and `settings` as they are.

        None where something is not as it should be. Only then does deciding ask for what is left out:
        what is `around`, which other places answered, whether what was good before is still stored.
        """
        seen = self.observed
        if seen.silent or any(e.ready is False or e.symptoms for e in seen.executions):
            return None
        executions = [_OF_AN_EXECUTION(e) for e in seen.executions]
        return repr((self.brief.revision, entry, executions, self.config, settings)).encode()


class Rest:
    """Marks of those that have nothing to do, and until when."""

    def __init__(self) -> None:
        self._marks: dict[str, tuple[int, float | None]] = {}

    def note(self, key: str, mark: int, look_again: float | None, now: float) -> None:
        """Nothing is left to do, until `look_again` seconds from `now`."""
        self._marks[key] = mark, None if look_again is None else now + look_again

    def is_known(self, key: str) -> bool:
        """Whether it was at rest when it was looked at last."""
        return key in self._marks

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
