"""A client of the endpoint `logs`, as anybody could write one: an inbox, and an answer to each message."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from nexthos_testing.field import Field


@dataclass
class LogReader:
    """What one request brought so far."""

    user: Field
    subscription: Subscription
    lines: list[dict[str, Any]] = field(default_factory=list)
    dropped: int = 0
    sizes: list[int] = field(default_factory=list)
    messages: int = 0
    end: str | None = None
    error: dict[str, Any] | None = None

    @property
    def texts(self) -> list[str]:
        return [line["text"] for line in self.lines]

    async def next(self, within: float = 15.0) -> Msg:
        """One message, not yet answered."""
        return await self.subscription.next_msg(timeout=within)

    async def take(self, message: Msg, *, answer: bool = True) -> None:
        """Understand it, and say so."""
        headers = message.headers or {}
        if "Nats-Service-Error-Code" in headers:
            self.error = json.loads(message.data)
        elif "Nexthos-Logs-End" in headers:
            assert message.data == b""
            self.end = headers["Nexthos-Logs-End"]
        else:
            body = json.loads(message.data)
            self.lines += body["lines"]
            self.dropped += body["dropped"]
            self.sizes.append(len(message.data))
            self.messages += 1
        if message.reply and answer:
            await self.user.nc.publish(message.reply, b"")

    async def until(self, *texts: str, answer: bool = True) -> None:
        """Read on until the last lines are these."""
        async with asyncio.timeout(20.0):
            while self.texts[-len(texts) :] != list(texts):
                assert self.end is None, (self.end, self.texts[-5:])
                await self.take(await self.next(), answer=answer)

    async def until_told(self, count: int) -> None:
        """Read on until that many lines were told, or told to be dropped."""
        async with asyncio.timeout(40.0):
            while len(self.lines) + self.dropped < count:
                await self.take(await self.next())

    async def until_end(self) -> str:
        """Read on until the end, and return why it is one; an error is one too."""
        async with asyncio.timeout(20.0):
            while self.end is None and self.error is None:
                await self.take(await self.next())
        return self.end or str(self.error)


@asynccontextmanager
async def log_reader(user: Field, key: str, **request: Any) -> AsyncIterator[LogReader]:
    """Ask for logs; leaving this no longer listens."""
    inbox = user.nc.new_inbox()
    subscription = await user.nc.subscribe(inbox)
    try:
        body = json.dumps({"id": key, **request}).encode()
        await user.nc.publish(user.names.endpoint("logs"), body, reply=inbox)
        yield LogReader(user, subscription)
    finally:
        await subscription.unsubscribe()


async def in_flight(user: Field) -> int:
    """How many requests the service is busy with."""
    reply = await user.nc.request(f"$SRV.STATS.{user.names.service}", b"")
    return int(json.loads(reply.data)["endpoints"][0]["data"]["in_flight"])
