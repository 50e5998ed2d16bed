"""The watch that survives server restarts, lost deletions and re-created buckets.

Comes in: a bucket and its link. Goes out: for ever, a `Snapshot` of everything each time the watch is
opened, then a `Change` per entry. It is opened anew when the connection came back (nats-py's own watch
stays blind for 10 to 20 s then), when the bucket turns out to be another one, and when something was
missed, for which it is compared every `resync` seconds with what the server has sent and holds. What
goes wrong is logged and tried again; only cancellation ends it.

One iteration never goes back: a snapshot holds at least what the changes before it brought. Whoever
stops iterating before the loop ends should use `contextlib.aclosing`, so that the consumer goes now
and not at the next garbage collection.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Hashable, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import structlog
from nats.aio.msg import Msg

from nexthos_shared.backoff import Backoff, jittered
from nexthos_shared.errors import NexthosError, StoreMissing
from nexthos_shared.model import Event
from nexthos_shared.nats.connection import Link
from nexthos_shared.nats.consumer import Feed
from nexthos_shared.nats.skips import Behind
from nexthos_shared.store import Bucket, ConfigInfo, Configs, Events, KvEntry
from nexthos_shared.store.completeness import Tally
from nexthos_shared.store.identity import Identity

RESYNC = 60.0  # seconds, give or take a fifth
IDENTITY_CHECK = 2.0  # seconds
COMPARISONS, BETWEEN = 5, 0.1  # and seconds: what is on its way has come by then
AGAIN = Backoff(0.1, 1.0)  # seconds between attempts to open
WORDS = 200  # characters of what is told of a message
LAG = 1.0  # seconds in which a server that leads anew has caught up

log = structlog.get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[T]):
    """Everything, markers included. `changed_identity`: the bucket is another one than before."""

    entries: tuple[T, ...]
    changed_identity: bool
    identity: str = ""  # when the bucket was created
    # What was written up to this revision and is not in it is gone, without a marker: it expired or was
    # purged. 0: that can't be said.
    whole_to: int = 0


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """One entry that was written after the snapshot."""

    entry: T


class _Source(Protocol):
    name: str
    link: Link

    async def identity(self) -> Identity: ...

    def feed(self, pattern: str, *, values: bool = True) -> Any: ...

    def subjects(self, entry: Any) -> tuple[Hashable, int] | None: ...


@dataclass(frozen=True, slots=True)
class _Terms:
    pattern: str = ">"
    values: bool = True
    resync: float = RESYNC
    identity_check: float = IDENTITY_CHECK
    gives_up: bool = False  # raises when the connection is closed for good


def watch(
    bucket: Bucket,
    link: Link,
    *,
    pattern: str = ">",
    values: bool = True,
    resync: float = RESYNC,
    identity_check: float = IDENTITY_CHECK,
) -> AsyncGenerator[Snapshot[KvEntry] | Change[KvEntry], None]:
    """Watch the matching keys of a KV bucket; without `values` for who wants their revisions only.

    `resync`, `identity_check`: seconds.
    """
    return _watch(bucket, link, bucket.read, _Terms(pattern, values, resync, identity_check))


def watch_configs(
    configs: Configs, link: Link, *, resync: float = RESYNC, identity_check: float = IDENTITY_CHECK
) -> AsyncGenerator[Snapshot[ConfigInfo] | Change[ConfigInfo], None]:
    """Watch the metas of all configurations; a deleted one comes with `deleted` set."""
    return _watch(configs, link, configs.read, _Terms(">", True, resync, identity_check))


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


async def follow_events(
    events: Events, since: float, pipeline_id: str = "*"
) -> AsyncGenerator[Event, None]:
    """Events from that moment on (seconds since the epoch), each once, also over reconnects.

    Raises what the first look raises, and StoreUnavailable when the connection is given up.
    """
    link, seen = events.link, set[str]()
    while True:
        reconnects = link.reconnects
        try:
            async with events.feed(since, pipeline_id) as feed:
                ends = feed.silence(), _until_back(link, reconnects)
                async with aclosing(_while(feed.messages, *ends)) as messages:
                    async for message in messages:
                        event = events.read(message)
                        if event is not None and event.id not in seen:
                            seen.add(event.id)
                            since = max(since, message.metadata.timestamp.timestamp())
                            yield event
        except NexthosError:
            if not link.reconnects or link.nc.is_closed:
                raise
            await _pause(link, reconnects, AGAIN.first)


async def _until_back(link: Link, reconnects: int) -> None:
    """Return when the connection came back, or will not."""
    while not link.nc.is_closed and not await _pause(link, reconnects, IDENTITY_CHECK):
        pass


async def _watch(
    source: _Source, link: Link, read: Callable[[Msg], T | None], terms: _Terms
) -> AsyncGenerator[Snapshot[T] | Change[T], None]:
    known: Identity | None = None
    failures = 0
    read = _guarded(link, read)
    with _told(link, f"{source.name}/{terms.pattern}") as fails:
        while True:
            reconnects = link.reconnects
            try:
                now = await _identity(source, known)
                changed = known is not None and not now.continues(known)
                known = now
                async with source.feed(terms.pattern, values=terms.values) as feed:
                    # How many subjects a part of a bucket holds is not told.
                    whole = terms.pattern == ">"
                    tally = Tally[Any](source.subjects if whole else lambda _: None)
                    found = await feed.last_of_each(read, tally.note)
                    fails("")
                    whole_to = known.last if len(found) == known.subjects else 0
                    entries = tuple(e for e in found if e is not None)
                    yield Snapshot(entries, changed, known.created, whole_to)
                    del (
                        found,
                        entries,
                    )  # of 50,000 entries most are replaced before the watch is opened anew
                    failures = 0
                    open_ = _Open(source, link, feed, tally, terms)
                    ends = feed.silence(), _until(open_, reconnects, known)
                    async with aclosing(_while(feed.messages, *ends)) as messages:
                        async for message in messages:
                            revision = message.metadata.sequence.stream
                            known = replace(known, last=max(known.last, revision))
                            entry = read(message)
                            tally.note(message, entry)
                            if entry is not None:
                                yield Change(entry)
            except Exception as error:  # whoever watches for ever must not end by one bad answer
                if terms.gives_up and link.nc.is_closed:
                    raise
                unexpected = not isinstance(error, NexthosError)
                fails(str(error) or type(error).__name__)
                log.warning("watch", bucket=source.name, error=str(error), exc_info=unexpected)
                failures += 1
                await _pause(link, reconnects, AGAIN.after(failures))


@contextmanager
def _told(link: Link, name: str) -> Iterator[Callable[[str], None]]:
    """Note in `link.behind` that a watch does not get on, until it is called with ""."""

    def fails(why: str) -> None:
        if not why:
            link.behind.pop(name, None)
        elif name in link.behind:
            link.behind[name].why = why
        else:
            link.behind[name] = Behind(time.monotonic(), why)

    fails("it has not begun")
    try:
        yield fails
    finally:
        fails("")


def _guarded(link: Link, read: Callable[[Msg], T | None]) -> Callable[[Msg], T | None]:
    """The same `read`; a message that it can't handle is passed over, and the watch goes on behind it."""

    def guarded(message: Msg) -> T | None:
        try:
            entry = read(message)
            if not getattr(entry, "broken", ""):  # that one was told of where it was read
                link.skips.handled(message.subject)
            return entry
        except Exception as error:
            sequence, why = message.metadata.sequence.stream, f"it can't be read: {error!r}"
            if link.skips.note(message.subject, sequence, why[:WORDS]):
                log.exception("a message is passed over", subject=message.subject)
            return None

    return guarded


async def _identity(source: _Source, known: Identity | None) -> Identity:
    """The bucket's identity. A server that has just become the leader may lag: it is asked twice."""
    now = await source.identity()
    if known is not None and now.created == known.created and now.last < known.last:
        await asyncio.sleep(LAG)
        now = await source.identity()
    return now


async def _while(
    messages: asyncio.Queue[Msg | None], *ends: Coroutine[Any, Any, None]
) -> AsyncGenerator[Msg, None]:
    """Messages until one of `ends` ends."""

    def wake(_: object) -> None:
        with suppress(asyncio.QueueFull):  # then nobody waits for a message
            messages.put_nowait(None)

    tasks = [asyncio.create_task(end) for end in ends]
    for task in tasks:
        task.add_done_callback(wake)
    try:
        while (message := await messages.get()) is not None:
            if any(task.done() for task in tasks):
                return
            yield message
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class _Open:
    """A watch while it is open."""

    source: _Source
    link: Link
    feed: Feed
    tally: Tally[Any]
    terms: _Terms

    async def is_whole(self) -> bool:
        """Whether it brought all that there is. Raises as a look at the stream and the consumer do."""
        for _ in range(COMPARISONS):
            subjects = (await self.source.identity()).subjects
            if self.tally.is_all(await self.feed.sent(), subjects):
                return True
            await asyncio.sleep(BETWEEN)
        return False


async def _until(watch: _Open, reconnects: int, known: Identity) -> None:
    """Return when the watch must be opened anew."""
    loop, link, terms = asyncio.get_running_loop(), watch.link, watch.terms
    deadline = loop.time() + jittered(terms.resync)
    while True:
        left = max(deadline - loop.time(), 0.0)
        if await _pause(link, reconnects, min(terms.identity_check, left)) or link.nc.is_closed:
            return
        try:
            now = await watch.source.identity()
            if not now.continues(known):
                return
            known = now
            if loop.time() < deadline:
                continue
            if not await watch.is_whole():
                log.debug("watch is opened anew", bucket=watch.source.name)
                return
            deadline = loop.time() + jittered(terms.resync)
        except StoreMissing:
            return  # says so, again and again, until it is back
        except NexthosError as error:
            log.debug("watch", bucket=watch.source.name, error=str(error))
            if loop.time() >= deadline:
                return


async def _pause(link: Link, reconnects: int, seconds: float) -> bool:
    """Wait; returns True at once when the connection came back meanwhile."""
    try:
        async with asyncio.timeout(seconds):
            await link.wait_reconnect(reconnects)
    except TimeoutError:
        return False
    return True
