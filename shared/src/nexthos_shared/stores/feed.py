"""One consumer's messages, and the certainty that the consumer is gone afterwards.

nats-py never deletes the consumer behind a watch: after 1,000 of them the server refuses any more
(nats-facts.md, 1). So nothing else in the house opens a consumer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from nats.aio.msg import Msg
from nats.js.api import DeliverPolicy
from nats.js.client import JetStreamContext

from nexthos_shared.errors import StoreUnavailable
from nexthos_shared.nats_client import Link
from nexthos_shared.stores.door import door

INACTIVE = 15.0  # seconds after which the server itself drops a consumer whose reader died
STORED_WITHIN = 10.0  # seconds without a message
NO_LIMIT = 0  # nats-py drops messages silently at its pending limit (scale-facts.md, 1)


@dataclass(slots=True)
class Feed:
    """Messages as they come; `initial` of them were stored before the feed was opened."""

    messages: asyncio.Queue[Msg | None]
    initial: int

    async def stored(self) -> list[Msg]:
        """The messages that were stored before. Raises StoreUnavailable if they do not all come."""
        found: list[Msg] = []
        try:
            while len(found) < self.initial:
                async with asyncio.timeout(STORED_WITHIN):
                    message = await self.messages.get()
                if message is not None:
                    found.append(message)
        except TimeoutError as error:
            words = f"only {len(found)} of {self.initial} stored messages came"
            raise StoreUnavailable(words) from error
        return found


@asynccontextmanager
async def open_feed(
    link: Link,
    stream: str,
    subject: str,
    *,
    deliver: DeliverPolicy = DeliverPolicy.LAST_PER_SUBJECT,
    headers_only: bool = False,
) -> AsyncIterator[Feed]:
    """Messages of `subject`, those stored first. Raises StoreMissing, StoreUnavailable."""
    messages: asyncio.Queue[Msg | None] = asyncio.Queue()
    js: JetStreamContext = link.js
    with door(link, f"watch {stream}"):
        subscription = await js.subscribe(
            subject,
            stream=stream,
            cb=messages.put,
            ordered_consumer=True,
            deliver_policy=deliver,
            headers_only=headers_only or None,
            inactive_threshold=INACTIVE,
            pending_msgs_limit=NO_LIMIT,
            pending_bytes_limit=NO_LIMIT,
        )
    try:
        with door(link, f"watch {stream}"):
            info = await subscription.consumer_info()
        initial = (info.num_pending or 0) + (info.delivered.consumer_seq if info.delivered else 0)
        yield Feed(messages, initial)
    finally:
        with suppress(Exception):
            name = (await _last_info(subscription)) or info.name
            await subscription.unsubscribe()
            if link.nc.is_connected:
                async with asyncio.timeout(2.0):
                    await js.delete_consumer(stream, name)


async def _last_info(subscription: JetStreamContext.PushSubscription) -> str | None:
    """The consumer's present name: an ordered consumer gets a new one when it is reset."""
    with suppress(Exception):
        async with asyncio.timeout(1.0):
            return (await subscription.consumer_info()).name
    return None
