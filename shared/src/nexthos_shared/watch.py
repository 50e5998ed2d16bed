"""The watch that survives server restarts, lost deletions and re-created buckets.

Comes in: a bucket and its link. Goes out: for ever, a `Snapshot` of everything each time the watch is
opened, then a `Change` per entry. It is opened anew when the connection came back (nats-py's own watch
stays blind for 10 to 20 s then), when the bucket turns out to be another one, and every `resync`
seconds. What goes wrong is logged and tried again; only cancellation ends it.

One iteration never goes back: a snapshot holds at least what the changes before it brought. Whoever
stops iterating before the loop ends should use `contextlib.aclosing`, so that the consumer goes now
and not at the next garbage collection.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import structlog
from nats.aio.msg import Msg

from nexthos_shared.errors import NexthosError, StoreMissing
from nexthos_shared.nats_client import Link
from nexthos_shared.stores import Bucket, ConfigInfo, Configs, KvEntry

RESYNC = 60.0  # seconds, give or take a fifth
IDENTITY_CHECK = 2.0  # seconds
FIRST_WAIT, LAST_WAIT = 0.1, 5.0  # seconds between attempts to open

log = structlog.get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[T]):
    """Everything, markers included. `changed_identity`: the bucket is another one than before."""

    entries: tuple[T, ...]
    changed_identity: bool
    identity: str = ""  # when the bucket was created


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """One entry that was written after the snapshot."""

    entry: T


class _Source(Protocol):
    name: str
    link: Link

    async def created(self) -> str: ...

    def feed(self, pattern: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class _Terms:
    pattern: str = ">"
    resync: float = RESYNC
    identity_check: float = IDENTITY_CHECK
    gives_up: bool = False  # raises when the connection is closed for good


def watch(
    bucket: Bucket, link: Link, *, resync: float = RESYNC, identity_check: float = IDENTITY_CHECK
) -> AsyncGenerator[Snapshot[KvEntry] | Change[KvEntry], None]:
    """Watch all keys of a KV bucket. `resync`, `identity_check`: seconds."""
    return _watch(bucket, link, bucket.read, _Terms(">", resync, identity_check))


def watch_configs(
    configs: Configs, link: Link, *, resync: float = RESYNC, identity_check: float = IDENTITY_CHECK
) -> AsyncGenerator[Snapshot[ConfigInfo] | Change[ConfigInfo], None]:
    """Watch the metas of all configurations; a deleted one comes with `deleted` set."""
    return _watch(configs, link, configs.read, _Terms(">", resync, identity_check))


async def follow(bucket: Bucket, pattern: str = ">") -> AsyncGenerator[KvEntry, None]:
    """What the matching keys hold now, then what is written; for people who wait at a terminal.

    Lives through a restart of the server, and brings each revision once. Raises what the first look
    raises (StoreMissing, StoreUnavailable, NotPermitted), and StoreUnavailable when the connection is
    given up.
    """
    link, seen = bucket.link, dict[str, int]()
    terms = _Terms(pattern, gives_up=True)
    await bucket.created()
    async with aclosing(_watch(bucket, link, bucket.read, terms)) as items:
        async for item in items:
            if isinstance(item, Snapshot) and item.changed_identity:
                seen.clear()
            for entry in item.entries if isinstance(item, Snapshot) else (item.entry,):
                if entry.revision > seen.get(entry.key, 0):
                    seen[entry.key] = entry.revision
                    yield entry


async def _watch(
    source: _Source, link: Link, read: Callable[[Msg], T | None], terms: _Terms
) -> AsyncGenerator[Snapshot[T] | Change[T], None]:
    identity = ""
    wait = FIRST_WAIT
    while True:
        reconnects = link.reconnects
        try:
            now = await source.created()
            changed = identity not in ("", now)
            identity = now
            async with source.feed(terms.pattern) as feed:
                found = [read(message) for message in await feed.last_of_each()]
                yield Snapshot(tuple(e for e in found if e is not None), changed, identity)
                wait = FIRST_WAIT
                until = _until(source, link, reconnects, identity, terms)
                async with aclosing(_while(feed.messages, until)) as messages:
                    async for message in messages:
                        entry = read(message)
                        if entry is not None:
                            yield Change(entry)
        except Exception as error:  # whoever watches for ever must not end by one bad answer
            if terms.gives_up and link.nc.is_closed:
                raise
            unexpected = not isinstance(error, NexthosError)
            log.warning("watch", bucket=source.name, error=str(error), exc_info=unexpected)
            await _pause(link, reconnects, wait * random.uniform(0.8, 1.2))
            wait = min(wait * 2, LAST_WAIT)


async def _while(
    messages: asyncio.Queue[Msg | None], until: Coroutine[Any, Any, None]
) -> AsyncGenerator[Msg, None]:
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
    source: _Source, link: Link, reconnects: int, identity: str, terms: _Terms
) -> None:
    """Return when the watch must be opened anew."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + terms.resync * random.uniform(0.8, 1.2)
    while (left := deadline - loop.time()) > 0:
        if await _pause(link, reconnects, min(terms.identity_check, left)) or link.nc.is_closed:
            return
        try:
            if await source.created() != identity:
                return
        except StoreMissing:
            return  # says so, again and again, until it is back
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
