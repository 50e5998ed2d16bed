"""One figure: what was measured of ours and of the other, run by run, and the target it is held to.

Comes in: seconds, counts, MiB, rates. Goes out: medians, spread, ratios pair by pair, a verdict. Must not
know how anything was measured. A ratio is taken within a pair of neighbouring runs and only then summed
up: a machine whose speed drifts changes both halves of a pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Literal

Unit = Literal["s", "count", "MiB", "/s", "%"]


@dataclass(frozen=True, slots=True)
class Spread:
    """The median, and between what eight of ten values lie."""

    median: float
    p10: float
    p90: float


def spread_of(values: Sequence[float]) -> Spread:
    """Raises ValueError for no values at all: a figure that was not measured is none."""
    if not values:
        raise ValueError("nothing was measured")
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    tenths = quantiles(values, n=10, method="inclusive")
    return Spread(median(values), tenths[0], tenths[-1])


@dataclass(frozen=True, slots=True)
class Target:
    """At most `limit`, or at least: of the median ratio, or of our own median."""

    limit: float
    of: Literal["ratio", "ours"]
    at_least: bool = False

    def met_by(self, value: float) -> bool:
        """Whether that will do."""
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True, slots=True)
class Point:
    """Where a figure stands on a curve that is drawn over the number of pipelines."""

    curve: str
    pipelines: int


@dataclass(frozen=True, slots=True)
class Figure:
    """`ours` and `other` are in the order measured, the n-th of both belonging together."""

    what: str
    unit: Unit
    ours: tuple[float, ...]
    other: tuple[float, ...] = ()
    other_is: str = ""
    target: Target | None = None
    point: Point | None = None

    def __post_init__(self) -> None:
        if self.other and len(self.other) != len(self.ours):
            raise ValueError(f"{self.what}: {len(self.ours)} and {len(self.other)} runs: no pairs")

    @property
    def ratios(self) -> tuple[float, ...]:
        """Ours by the other, pair by pair; empty if there is no other."""
        return tuple(a / b for a, b in zip(self.ours, self.other, strict=False) if b)

    @property
    def judged(self) -> Spread:
        """The spread of what the target speaks of; without a target, of the ratio if there is one."""
        of_ours = not self.ratios or (self.target is not None and self.target.of == "ours")
        return spread_of(self.ours if of_ours else self.ratios)

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None if there is none."""
        return None if self.target is None else self.target.met_by(self.judged.median)
