"""One KV bucket: keys, bytes, revisions. Deletion is a marker that can be read like an entry."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from nats.aio.msg import Msg
from nats.js.api import DeliverPolicy, PubAck, RawStreamMsg

from nexthos_shared.errors import InvalidName, StoreConflict, StoreRefused
from nexthos_shared.nats.asking import asked
from nexthos_shared.nats.connection import Link
from nexthos_shared.nats.consumer import Feed, open_feed
from nexthos_shared.nats.errors import Nothing
from nexthos_shared.store.identity import Identity, identity_of

OPERATION = "KV-Operation"
MARKER_REASON = "Nats-Marker-Reason"
MESSAGE_ID = "Nats-Msg-Id"
EXPECTED = "Nats-Expected-Last-Subject-Sequence"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KvEntry:
    """What one key holds. `value` None: the last entry is a delete, purge or expiry marker."""

    key: str
    revision: int
    value: bytes | None
    # Seconds since the epoch. Not compared: nats-py rounds it in two ways, a microsecond apart.
    created: float = field(default=0.0, compare=False)


class Bucket:
    """Reads by direct get, writes by publish, decides by compare-and-set (never by a read).

    Nothing is purged: that takes rollups, and where they are allowed a writer of one key can erase all
    others with one header.
    """

    def __init__(self, link: Link, name: str) -> None:
        self.link = link
        self.name = name
        self.stream = f"KV_{name}"
        self._prefix = f"$KV.{name}."

    async def get(self, key: str) -> KvEntry | None:
        """The last entry, marker included; None if the key never held anything."""
        subject = self._subject(key)
        try:
            question = partial(self._last_message, subject)
            what = f"get {self.name}/{key}"
            message = await asked(self.link, what, self.stream, question, subject)
        except Nothing:
            return None
        return _entry_of(key, message)

    async def put(self, key: str, value: bytes) -> int:
        """Write whatever is there; returns the revision."""
        return await self._publish(key, value, {})

    async def create(self, key: str, value: bytes) -> int:
        """Write only if nothing or a marker is there; else StoreConflict."""
        stored = await self.get(key)
        if stored is not None and stored.value is not None:
            raise StoreConflict(f"create {self.name}/{key}: it exists (revision {stored.revision})")
        return await self.update(key, value, stored.revision if stored else 0)

    async def update(self, key: str, value: bytes, revision: int, *, ttl: int | None = None) -> int:
        """Write only if the key's last revision is `revision` (0: none); else StoreConflict.

        `ttl`: whole seconds after which the server removes it, and leaves no marker; in the control bucket
        only. nats-py's own `update` knows none: a lease renewed with it would never end.
        """
        return await self._publish(key, value, {EXPECTED: str(revision)}, ttl)

    async def delete(self, key: str, revision: int | None = None) -> None:
        """Write a delete marker, also for a key that never held anything."""
        headers = {OPERATION: "DEL"}
        if revision is not None:
            headers[EXPECTED] = str(revision)
        await self._publish(key, b"", headers)

    async def history(self, key: str) -> list[KvEntry]:
        """What the bucket still keeps of a key, oldest first, markers included."""
        self._subject(key)
        async with self.feed(key, deliver=DeliverPolicy.ALL) as feed:
            return [self.read(message) for message in await feed.stored()]

    async def snapshot(self) -> list[KvEntry]:
        """The last entry of every key, markers included."""
        return await self.each(lambda entry: entry)

    async def each(self, what: Callable[[KvEntry], T]) -> list[T]:
        """What becomes of the last entry of every key; no more than one is held at a time."""
        async with self.feed(">") as feed:
            found: list[T] = await feed.last_of_each(lambda message: what(self.read(message)))
            return found

    async def identity(self) -> Identity:
        """Which bucket it is, and how far it got: see `Identity`."""
        return await identity_of(self.link, self.name, self.stream)

    async def created(self) -> str:
        """The bucket's birthday: one that was deleted and made again has another one."""
        return (await self.identity()).created

    def feed(
        self,
        pattern: str,
        *,
        deliver: DeliverPolicy = DeliverPolicy.LAST_PER_SUBJECT,
        values: bool = True,
    ) -> Any:
        """`async with bucket.feed(pattern) as feed`: see `open_feed`. Without `values` all are empty."""
        subject = f"{self._prefix}{pattern}"
        return open_feed(self.link, self.stream, subject, deliver=deliver, values=values)

    def subjects(self, entry: KvEntry) -> tuple[str, int]:
        """Its name, and how many subjects of the stream it stands for: see `Tally`."""
        return entry.key, 1

    def read(self, message: Msg) -> KvEntry:
        """The entry in a message of this bucket's feed."""
        meta = message.metadata
        headers = message.headers or {}
        is_marker = OPERATION in headers or MARKER_REASON in headers
        return KvEntry(
            key=sys.intern(message.subject.removeprefix(self._prefix)),  # of several buckets
            revision=meta.sequence.stream,
            value=None if is_marker else message.data,
            created=meta.timestamp.timestamp(),
        )

    def _subject(self, key: str) -> str:
        # nats-py checks some keys and lets others time out: ask before.
        tokens = key.split(".")
        if not all(tokens) or any(c in key for c in " *>\t\r\n") or len(key) > 1024:
            raise InvalidName(f"key {key[:60]!r}: not a key that NATS takes")
        return f"{self._prefix}{key}"

    async def _publish(
        self, key: str, value: bytes, headers: dict[str, str], ttl: int | None = None
    ) -> int:
        subject = self._subject(key)
        written = self.link.written(subject)
        if len(value) > self.link.room(len(value)):
            raise StoreRefused(
                f"write {self.name}/{key}: it has {len(value)} bytes, and NATS lets a message of "
                f"{self.link.nc.max_payload} through: raise `max_payload` in the server's configuration"
            )
        # The server stores what bears the same id once: so it may be sent again.
        named = {**headers, MESSAGE_ID: secrets.token_hex(8)}

        def send(within: float) -> Awaitable[PubAck]:
            js = self.link.js
            return js.publish(written, value, timeout=within, headers=named, msg_ttl=ttl)

        ack = await asked(self.link, f"write {self.name}/{key}", self.stream, send, subject)
        return ack.seq

    async def _last_message(self, subject: str, within: float) -> RawStreamMsg:
        async with asyncio.timeout(within):
            return await self.link.js.get_last_msg(self.stream, subject, direct=True)


def _entry_of(key: str, message: RawStreamMsg) -> KvEntry:
    headers = message.headers or {}
    is_marker = OPERATION in headers or MARKER_REASON in headers
    value = None if is_marker else (message.data or b"")
    return KvEntry(
        key=key,
        revision=message.seq or 0,
        value=value,
        created=stored_at(message),
    )


def stored_at(message: RawStreamMsg) -> float:
    """When a message was stored, in seconds since the epoch."""
    return message.time.timestamp() if isinstance(message.time, datetime) else 0.0


__all__ = ["Bucket", "Feed", "KvEntry", "stored_at"]
