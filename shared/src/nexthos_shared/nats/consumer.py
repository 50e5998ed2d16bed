"""One consumer's messages, and the certainty that the consumer is gone afterwards.

nats-py never deletes the consumer behind a watch: after 1,000 of them the server refuses any
more. So nothing else in the house opens a consumer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from nats.aio.msg import Msg
from nats.js.api import ConsumerConfig, ConsumerInfo, DeliverPolicy
from nats.js.client import JetStreamContext

from nexthos_shared.errors import StoreUnavailable
from nexthos_shared.nats.asking import asked
from nexthos_shared.nats.connection import Link

INACTIVE = 15.0  # seconds after which the server itself drops a consumer whose reader died
QUIET = 0.25  # seconds without a message before we ask whether any is still to come
STORED_WITHIN = 10.0  # seconds without a message
HEARTBEAT = 0.5  # seconds between two signs of life of a consumer that has nothing to send
DELETE_WITHIN = 0.5  # seconds: without it the server does it later, and a new feed waits for it
MOST_BEHIND = 1000  # messages read on for at most, where writers are faster than we are
WAITING = 500  # messages that came and were not read yet
AT_ONCE = 200  # messages understood before others have their turn, some 2 ms
MISSED = 3  # heartbeats in a row
NO_LIMIT = 0  # nats-py drops messages silently at its pending limit

T = TypeVar("T")


@dataclass(slots=True)
class Feed:
    """Messages as they come; `initial` of them were stored before the feed was opened."""

    messages: asyncio.Queue[Msg | None]
    initial: int
    consumer: str  # its name; after a gap nats-py goes on with another one, which counts anew
    link: Link
    subscription: JetStreamContext.PushSubscription

    async def stored(self) -> list[Msg]:
        """The messages that were stored before. Raises StoreUnavailable if they do not all come."""
        return [message async for message in self._stored()]

    async def last_of_each(
        self, read: Callable[[Msg], T], note: Callable[[Msg, T], None] = lambda *_: None
    ) -> list[T]:
        """What was stored, the last message of each subject, as `read` understands it.

        Each is understood as it comes, and `note` is told: 50,000 messages take 90 MiB.
        """
        found: dict[str, T] = {}
        async for message in self._stored():
            entry = found[message.subject] = read(message)
            note(message, entry)
        return list(found.values())

    async def _stored(self) -> AsyncGenerator[Msg, None]:
        # What is overwritten meanwhile comes later, behind what is new: so it is read on until nothing
        # is pending, and an entry that was there is never missing.
        last, count, silent = None, 0, 0.0
        while not self._is_whole(count, last):
            message = await self._within(QUIET)
            if message is not None:
                last, count, silent = message, count + 1, 0.0
                if count % AT_ONCE == 0:  # 50,000 in one go kept a lease from being renewed
                    await asyncio.sleep(0)
                yield message
                continue
            silent += QUIET
            # What was stored can expire or be purged before it is sent.
            if await self.sent() == count and self.messages.empty():
                break
            if silent >= STORED_WITHIN:
                raise StoreUnavailable(f"only {count} of {self.initial} stored messages came")
        # After a gap nats-py goes on with another consumer, from which older revisions come too.
        if last is not None and last.metadata.sequence.consumer != count:
            raise StoreUnavailable("the stored messages came with a gap")

    def _is_whole(self, count: int, last: Msg | None) -> bool:
        if count < self.initial:
            return False
        if last is None or count >= 2 * self.initial + MOST_BEHIND:
            return True
        return last.metadata.num_pending == 0

    async def _within(self, seconds: float) -> Msg | None:
        if not self.messages.empty():
            return self.messages.get_nowait()
        try:
            async with asyncio.timeout(seconds):
                return await self.messages.get()
        except TimeoutError:
            return None

    async def silence(self) -> None:
        """Return when the consumer gives no sign of life any more: its server has ended, or froze.

        A consumer lives on one server of a cluster, and its end is told to nobody. nats-py would look for
        it after 10 to 20 s. One missed sign means little: it may wait unread while others are busy.
        """
        seen, missed = _state_of(self.subscription), 0
        while missed < MISSED:
            await asyncio.sleep(HEARTBEAT)
            missed = 0 if seen._active else missed + 1
            seen._active = False

    async def sent(self) -> int | None:
        """How many messages the server has sent; None if more are to come, or that can't be said.

        Raises StoreMissing (the consumer is gone, or its stream), StoreUnavailable, NotPermitted.
        """
        stream = self.subscription._stream
        question = partial(_info, self.link, stream, self.subscription)
        info = await asked(self.link, f"watch {stream}", stream, question)
        if info.num_pending or info.name != self.consumer:
            return None
        return info.delivered.consumer_seq if info.delivered else 0


@asynccontextmanager
async def open_feed(
    link: Link,
    stream: str,
    subject: str,
    *,
    deliver: DeliverPolicy = DeliverPolicy.LAST_PER_SUBJECT,
    since: float | None = None,
    values: bool = True,
) -> AsyncIterator[Feed]:
    """Messages of `subject`, those stored first; with `since`, all from that moment on.

    `since`: seconds since the epoch. Without `values` they come without what is in them.
    Raises StoreMissing, StoreUnavailable, NotPermitted.
    """
    # While it is full nats-py answers no flow control, and the server waits: 50,000 statuses are 150 MB.
    messages: asyncio.Queue[Msg | None] = asyncio.Queue(WAITING)
    config = ConsumerConfig(headers_only=None if values else True)
    if since is not None:
        deliver = DeliverPolicy.BY_START_TIME
        config.opt_start_time = datetime.fromtimestamp(since, UTC)

    async def subscribe(within: float) -> JetStreamContext.PushSubscription:
        async with asyncio.timeout(within):
            return await link.js.subscribe(
                subject,
                stream=stream,
                config=replace(config),
                cb=messages.put,
                ordered_consumer=True,
                deliver_policy=deliver,
                inactive_threshold=INACTIVE,
                idle_heartbeat=HEARTBEAT,
                pending_msgs_limit=NO_LIMIT,
                pending_bytes_limit=NO_LIMIT,
            )

    subscription = await asked(link, f"watch {stream}", stream, subscribe)
    _state_of(subscription)._hbtask.cancel()  # `silence` looks sooner
    try:
        question = partial(_info, link, stream, subscription)
        info = await asked(link, f"watch {stream}", stream, question)
        initial = (info.num_pending or 0) + (info.delivered.consumer_seq if info.delivered else 0)
        yield Feed(messages, initial, info.name, link, subscription)
    finally:
        await _end(link, stream, subscription)


def _state_of(subscription: JetStreamContext.PushSubscription) -> Any:
    """What nats-py notes of a subscription; `_active` is set by everything that comes, heartbeats too."""
    return subscription._sub._jsi


async def _info(
    link: Link, stream: str, subscription: JetStreamContext.PushSubscription, within: float
) -> ConsumerInfo:
    info: ConsumerInfo = await link.js.consumer_info(stream, subscription._consumer, within)
    return info


async def _end(link: Link, stream: str, subscription: JetStreamContext.PushSubscription) -> None:
    with suppress(Exception):
        await subscription.unsubscribe()
    if link.nc.is_connected:
        with suppress(Exception):
            async with asyncio.timeout(DELETE_WITHIN):
                # An ordered consumer gets a new name when it is reset: the present one.
                await link.js.delete_consumer(stream, subscription._consumer)
