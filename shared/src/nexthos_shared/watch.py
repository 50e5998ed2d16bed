"""The watch that survives server restarts, lost deletions and re-created buckets.

Comes in: a bucket and its link. Goes out: for ever, a `Snapshot` of everything each time the watch is
opened, then a `Change` per entry. It is opened anew when the connection came back (nats-py's own watch
stays blind for 10 to 20 s then), when the bucket turns out to be another one, and every `resync`
seconds. What goes wrong is logged and tried again; only cancellation ends it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import structlog
from nats.aio.msg import Msg

from nexthos_shared.errors import NexthosError
from nexthos_shared.nats_client import Link
from nexthos_shared.stores import Bucket, ConfigInfo, Configs, KvEntry

IDENTITY_CHECK = 2.0  # seconds
FIRST_WAIT, LAST_WAIT = 0.1, 5.0  # seconds between attempts to open

log = structlog.get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[T]):
    """Everything, markers included. `changed_identity`: the bucket is another one than before."""

    entries: tuple[T, ...]
    changed_identity: bool


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """One entry that was written after the snapshot."""

    entry: T


class _Source(Protocol):
    name: str
    link: Link

    async def created(self) -> str: ...

    def feed(self, pattern: str) -> Any: ...


def watch(
    bucket: Bucket, link: Link, *, resync: float = 60.0
) -> AsyncIterator[Snapshot[KvEntry] | Change[KvEntry]]:
    """Watch all keys of a KV bucket."""
    return _watch(bucket, link, bucket.read, resync)


def watch_configs(
    configs: Configs, link: Link, *, resync: float = 60.0
) -> AsyncIterator[Snapshot[ConfigInfo] | Change[ConfigInfo]]:
    """Watch the metas of all configurations."""
    return _watch(configs, link, configs.read, resync)


async def follow(bucket: Bucket, pattern: str = ">") -> AsyncIterator[KvEntry]:
    """What the matching keys hold now, then what is written; for people who wait. Ends on errors."""
    async with bucket.feed(pattern) as feed:
        while (message := await feed.messages.get()) is not None:
            yield bucket.read(message)


async def _watch(
    source: _Source, link: Link, read: Callable[[Msg], T | None], resync: float
) -> AsyncIterator[Snapshot[T] | Change[T]]:
    identity: str | None = None
    wait = FIRST_WAIT
    while True:
        reconnects = link.reconnects
        try:
            now = await source.created()
            changed = identity is not None and now != identity
            identity = now
            async with source.feed(">") as feed:
                found = [read(message) for message in await feed.stored()]
                yield Snapshot(tuple(e for e in found if e is not None), changed)
                wait = FIRST_WAIT
                until = _until(source, link, reconnects, identity, resync)
                async for message in _while(feed.messages, until):
                    entry = read(message)
                    if entry is not None:
                        yield Change(entry)
        except NexthosError as error:
            log.warning("watch", bucket=source.name, error=str(error), again_in=round(wait, 1))
            await _pause(link, reconnects, wait * random.uniform(0.8, 1.2))
            wait = min(wait * 2, LAST_WAIT)


async def _while(messages: asyncio.Queue[Msg | None], until: Any) -> AsyncIterator[Msg]:
    """Messages until `until` ends."""
    end = asyncio.create_task(until)
    end.add_done_callback(lambda _: messages.put_nowait(None))
    try:
        while (message := await messages.get()) is not None:
            yield message
    finally:
        end.cancel()
        await asyncio.gather(end, return_exceptions=True)


async def _until(
    source: _Source, link: Link, reconnects: int, identity: str, resync: float
) -> None:
    """Return when the watch must be opened anew."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + resync * random.uniform(0.8, 1.2)
    while (left := deadline - loop.time()) > 0:
        if await _pause(link, reconnects, min(IDENTITY_CHECK, left)):
            return
        try:
            if await source.created() != identity:
                return
        except NexthosError as error:
            log.debug("watch", bucket=source.name, error=str(error))


async def _pause(link: Link, reconnects: int, seconds: float) -> bool:
    """Wait; returns True at once when the connection came back meanwhile."""
    try:
        async with asyncio.timeout(seconds):
            await link.wait_reconnect(reconnects)
    except TimeoutError:
        return False
    return True
