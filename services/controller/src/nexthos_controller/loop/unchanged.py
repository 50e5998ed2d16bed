"""Pipelines that are as the last reconcile left them: a resync passes over them.

Comes in: what is observed of a pipeline. Goes out: whether all of it was there when nothing was left to do,
and nothing was due since. Deciding is pure, so the same view can only lead to the same: a resync of
thousands costs a comparison each, and reads neither definitions nor statuses.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from nexthos_controller.cache.executions import PossiblePlaces


@dataclass(frozen=True, slots=True)
class Basis:
    """What of a definition and a status decides how their pipeline is observed."""

    version: str | None  # whose configuration is looked up
    executor: str  # where the definition wants it
    places: PossiblePlaces
    good: tuple[str, str] | None  # version and digest that were good last


@dataclass(frozen=True, slots=True)
class _Settled:
    basis: Basis
    mark: int
    due: float | None  # when something is due without a change, seconds since the epoch


class Unchanged:
    """What was observed of those that have nothing to do, and until when that holds."""

    def __init__(self) -> None:
        self._settled: dict[str, _Settled] = {}

    def note(self, key: str, basis: Basis, seen: Hashable, due: float | None) -> None:
        """Nothing is left to do about what was `seen`, until `due`."""
        # A hash: what was seen of thousands takes tens of MB.
        self._settled[key] = _Settled(basis, hash(seen), due)

    def basis(self, key: str) -> Basis | None:
        """Of one that was settled; valid while its definition and status are the same."""
        settled = self._settled.get(key)
        return settled.basis if settled is not None else None

    def holds(self, key: str, seen: Hashable, now: float) -> bool:
        """Whether it is as it was."""
        known = self._settled.get(key)
        if known is None or known.mark != hash(seen):
            return False
        return known.due is None or now < known.due

    def due(self, key: str) -> float | None:
        """When something is due without a change, of one that is settled."""
        return self._settled[key].due

    def forget(self, key: str) -> None:
        """Something is being done about it."""
        self._settled.pop(key, None)
