"""Many small NATS-to-NATS pipelines at once, judged by nothing but the messages that come out of them.

Comes in: a field and keys. Goes out: when each has answered, and which messages got no answer. Each message
is numbered, so an answer to an older one proves nothing about the present.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Self

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from nexthos_testing.field import Field
from nexthos_testing.wait import eventually

ASK_EVERY = 0.02  # seconds between two messages to those that have not answered yet
AT_ONCE = 100  # that are asked: all of 2,000 would be more than the server's idle work
BEAT = 0.5  # seconds between two messages to each that is not to stop
ANSWERS_WITHIN = 5.0  # seconds
PUTS = 250  # definitions between two flushes


class Chorus:
    """`async with Chorus(field, keys)`: hears all of them."""

    def __init__(self, field: Field, keys: Sequence[str]) -> None:
        self.keys = keys
        self._field = field
        self._numbers = itertools.count(1)
        self._least = 0  # the first message whose answer counts
        self._waiting: dict[str, None] = {}  # in the order of `keys`
        self._last = 0.0
        self._unanswered: set[tuple[str, int]] = set()
        self._subscription: Subscription | None = None

    async def __aenter__(self) -> Self:
        self._subscription = await self._field.nc.subscribe(self._field.outlet("*"), cb=self._hear)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._subscription is not None
        await self._subscription.unsubscribe()

    async def _hear(self, message: Msg) -> None:
        key, number = message.subject.rpartition(".")[2], int(message.data.rpartition(b" ")[2])
        self._unanswered.discard((key, number))
        if number >= self._least and key in self._waiting:
            del self._waiting[key]
            self._last = time.perf_counter()

    # ---- the store

    async def store(self) -> None:
        """Their configurations."""
        for key in self.keys:
            await self._field.echo(key)

    async def put(self) -> None:
        """Their definitions, without waiting for each."""
        entry = json.dumps({"status": "published", "version": "1"}).encode()
        for number, key in enumerate(self.keys):
            await self._field.nc.publish(f"$KV.{self._field.names.pipelines}.{key}", entry)
            if number % PUTS == 0:
                await self._field.nc.flush()
        await self._field.nc.flush()

    # ---- what comes out

    async def all_answer(self, keys: Collection[str], within: float) -> float:
        """The moment at which the last of them had answered something that was sent from now on."""
        self._least = next(self._numbers)
        self._waiting = dict.fromkeys(keys)
        async with asyncio.timeout(within):
            while self._waiting:
                for key in list(self._waiting)[:AT_ONCE]:
                    await self._send(key)
                await self._field.nc.flush()
                await asyncio.sleep(ASK_EVERY)
        return self._last

    @asynccontextmanager
    async def none_stops(self, keys: Collection[str], lost: list[str]) -> AsyncIterator[None]:
        """Meanwhile each gets messages; `lost` gets the key of each message that was not answered."""
        beating = asyncio.create_task(self._beat(keys))
        try:
            await asyncio.sleep(
                2 * BEAT
            )  # a span to be watched, before and after: nothing to wait for
            yield
            await asyncio.sleep(2 * BEAT)
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
        try:
            await eventually(lambda: not self._unanswered, within=ANSWERS_WITHIN)
        except AssertionError:
            lost += [key for key, _ in self._unanswered]

    async def _beat(self, keys: Collection[str]) -> None:
        while True:
            for key in keys:
                self._unanswered.add((key, await self._send(key)))
            await asyncio.sleep(BEAT)

    async def _send(self, key: str) -> int:
        number = next(self._numbers)
        await self._field.nc.publish(self._field.inlet(key), str(number).encode())
        return number
