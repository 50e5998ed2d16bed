"""What a feed has brought, counted so that two questions tell whether anything was missed.

Comes in: each message of a feed, and what it was understood as. Goes out: whether the server sent no more
than that, and holds as many subjects. So a resync need not read everything again: a message that got lost
shows in the first number, one that was removed without a marker in the second.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from nats.aio.msg import Msg

T = TypeVar("T")


class Tally(Generic[T]):
    """Counts. `weigh` names an entry, and says how many subjects of the stream it stands for.

    None: that is not known. Names that are kept anyway cost next to nothing.
    """

    def __init__(self, weigh: Callable[[T], tuple[Hashable, int] | None]) -> None:
        self._weigh = weigh
        self._names: set[Hashable] = set()
        self._heavy: set[Hashable] = set()  # those that stand for two
        self._vague = False
        self._received = 0

    def note(self, message: Msg, entry: T) -> None:
        """`message` came, and says `entry`."""
        self._received = message.metadata.sequence.consumer
        weighed = self._weigh(entry)
        if weighed is None:
            self._vague = True
            return
        name, weight = weighed
        self._names.add(name)
        if weight == 2:
            self._heavy.add(name)
        else:
            self._heavy.discard(name)

    def is_all(self, sent: int | None, subjects: int) -> bool:
        """Whether it is all that was `sent` on the feed, and the stream's `subjects` are those.

        `sent` None: more is to come. What comes counts up from message to message, and nats-py sees a gap
        in it: so what came after the answer about `sent` does no harm.
        """
        if sent is None or self._vague:
            return False
        return self._received >= sent and len(self._names) + len(self._heavy) == subjects
