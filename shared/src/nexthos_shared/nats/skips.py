"""Messages that were passed over because nobody can handle them: how many, and the last of them.

Comes in: subject, sequence, and what is wrong. Goes out: a count that only grows, and one line for each
subject until something that can be handled comes on it. Decides nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

MOST = 20  # subjects that are told of; all are counted
SHOWN = 200  # characters of a subject


@dataclass(frozen=True, slots=True)
class Skip:
    """One message. `sequence`: its place in the stream; 0 for one that came from no stream."""

    subject: str
    sequence: int
    why: str

    def __str__(self) -> str:
        place = f", sequence {self.sequence}" if self.sequence else ""
        return f"{self.subject}{place}: {self.why}"


@dataclass(slots=True)
class Behind:
    """A watch that does not get on."""

    since: float  # seconds of time.monotonic()
    why: str


class Skips:
    """Of one connection."""

    def __init__(self) -> None:
        self.total = 0
        self._last: OrderedDict[str, Skip] = OrderedDict()

    def note(self, subject: str, sequence: int, why: str) -> bool:
        """A message was passed over; whether that is news."""
        known = self._last.get(subject)
        skip = Skip(subject[:SHOWN], sequence, why)
        if known is not None and known.sequence == sequence and sequence:
            return False  # read again, as at each resync
        self.total += 1
        self._last[subject] = skip
        self._last.move_to_end(subject)
        while len(self._last) > MOST:
            self._last.popitem(last=False)
        return known is None

    def handled(self, subject: str) -> None:
        """What came on this subject since was understood."""
        if self._last:
            self._last.pop(subject, None)

    def last(self) -> list[Skip]:
        """The last ones, the newest at the end."""
        return list(self._last.values())
