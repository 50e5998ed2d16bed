"""A user who changes pipelines all the time, NATS there or not, and what became of each change."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import APIError, KeyNotFoundError, NoStreamResponseError

from nexthos_shared.names import Names
from nexthos_testing.field import Field

ANSWER_WITHIN = 0.5  # seconds for one try of a put
AGAIN = 0.05  # seconds
AWAY = (nats.errors.Error, NoStreamResponseError, APIError, TimeoutError)


class NatsMayBeAway:
    """Lets go what comes of that; when a connection ends, nats-py may also cancel who waits for it."""

    def __enter__(self) -> None:
        """Nothing is to be had."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> bool:
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            return task is not None and not task.cancelling()
        return isinstance(error, AWAY)


@dataclass(frozen=True, slots=True)
class Change:
    """One change, as it was stored."""

    key: str
    revision: int
    stored_at: float  # seconds since the epoch: when the server said so


@dataclass(frozen=True, slots=True)
class Written:
    """One status, as the controller wrote it."""

    observed: int
    at: float  # seconds since the epoch, of the controller's clock
    phase: str


@dataclass
class User:
    """Puts entries until they are stored, and reads every status as it is written."""

    base: Field
    changes: list[Change] = field(default_factory=list)
    statuses: dict[str, list[Written]] = field(default_factory=dict)

    async def put(self, key: str, **more: Any) -> Change:
        """Store a definition, however often it takes."""
        entry = {"status": "published", "version": "1", **more}
        return await self.store(key, json.dumps(entry).encode())

    async def delete(self, key: str) -> Change:
        """Store a marker, however often it takes."""
        return await self.store(key, b"", {"KV-Operation": "DEL"})

    async def store(self, key: str, value: bytes, headers: dict[str, str] | None = None) -> Change:
        """Whatever bytes, as `nats kv put` would."""
        subject = f"$KV.{self.base.names.pipelines}.{key}"
        while True:
            with NatsMayBeAway():
                ack = await self.base.js.publish(
                    subject, value, timeout=ANSWER_WITHIN, headers=headers
                )
                change = Change(key, ack.seq, time.time())
                self.changes.append(change)
                return change
            await asyncio.sleep(AGAIN)

    async def read(self, message: Msg) -> None:
        """Take note of a status."""
        if message.data:
            self.take(message.subject.rpartition(".")[2], message.data)

    def take(self, key: str, value: bytes) -> None:
        stored = json.loads(value)
        written = Written(stored["observed_revision"], stored["updated_at"], stored["phase"])
        self.statuses.setdefault(key, []).append(written)

    async def look(self) -> None:
        """Read all statuses: those that were written while we were away, too."""
        with NatsMayBeAway():
            bucket = await self.base.js.key_value(self.base.names.status)
            for key in {change.key for change in self.changes}:
                with suppress(KeyNotFoundError):
                    self.take(key, (await bucket.get(key)).value)

    def acted_at(self, change: Change) -> float | None:
        """When the first status was written that speaks of that change or a later one."""
        known = self.statuses.get(change.key, ())
        return min((w.at for w in known if w.observed >= change.revision), default=None)

    def waiting(self) -> list[Change]:
        """Changes that no status speaks of yet."""
        return [change for change in self.changes if self.acted_at(change) is None]


@asynccontextmanager
async def user_of(url: str, names: Names) -> AsyncIterator[User]:
    """A user with a connection that never gives up, of that namespace."""
    nc: Client = await nats.connect(
        url.split(","),
        max_reconnect_attempts=-1,
        reconnect_time_wait=AGAIN,
        ping_interval=1,  # or a frozen server would keep us
        error_cb=_say_nothing,
    )
    try:
        user = User(Field(nc, names))
        await nc.subscribe(f"$KV.{names.status}.*", cb=user.read)
        yield user
    finally:
        await nc.close()


async def _say_nothing(error: Exception) -> None:
    """That the server is away is what is tested."""
