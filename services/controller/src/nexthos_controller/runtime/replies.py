"""Where replies may go: a stranger chose the subject, and the controller's rights publish to it.

Comes in: subjects of replies, as requests name them. Goes out: whether anything is sent there. Where
nothing is, the request is counted, and neither understood nor answered, not even with an error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from prometheus_client import Counter

from nexthos_shared.names import Names
from nexthos_shared.nats.connection import Link
from nexthos_shared.nats.inboxes import is_inbox, reaches

SHOWN = 60  # characters of a subject in the log

log = structlog.get_logger(__name__)

Callback = Callable[[Msg], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Replies:
    """The rule. `links`: all connections of this controller; what they listen to gets no reply.

    Else a request could name an inbox of ours, and its answer would be read as one of JetStream's.
    """

    links: tuple[Link, ...]
    names: Names
    dropped: Counter

    def takes(self, subject: str) -> bool:
        """Whether a reply may be sent there; one that may not is counted. Never raises."""
        allowed = (
            is_inbox(subject, self.links[0].options.inbox_prefix)
            and not self._is_stored(subject)
            and not self._is_ours(subject)
        )
        if not allowed:
            self.dropped.inc()
            log.debug("reply dropped: no inbox", subject=ascii(subject[:SHOWN]))
        return allowed

    def _is_stored(self, subject: str) -> bool:
        """Whether it is one of the namespace, whatever prefix of inboxes is configured."""
        names = self.names
        buckets = (names.pipelines, names.configs, names.status, names.control, names.events)
        return subject.partition(".")[0] in (names.namespace, *buckets)

    def _is_ours(self, subject: str) -> bool:
        subscriptions = (s for link in self.links for s in link.nc._subs.values())
        return any(reaches(s.subject, subject) for s in subscriptions)


class Guarded:
    """A connection as nats.micro needs it: what names a reply that is no inbox reaches no handler."""

    def __init__(self, nc: Client, replies: Replies) -> None:
        self._nc = nc
        self._nuid = nc._nuid
        self._replies = replies

    async def subscribe(self, subject: str, queue: str = "", *, cb: Callback) -> Subscription:
        """See nats-py."""

        async def guarded(message: Msg) -> None:
            if not message.reply or self._replies.takes(message.reply):
                await cb(message)

        return await self._nc.subscribe(subject, queue=queue, cb=guarded)

    async def flush(self, *arguments: Any) -> None:
        """See nats-py."""
        await self._nc.flush(*arguments)
