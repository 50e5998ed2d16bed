"""Resyncs on a real server: what a watch missed is found, and nothing is read where nothing was missed."""

import asyncio
from contextlib import asynccontextmanager
from functools import partial

import pytest

from nexthos_shared.store import Bucket
from nexthos_shared.store.watch import Snapshot, watch, watch_configs
from nexthos_testing.wait import eventually
from nexthos_testing.watching import watching


class Counted(Bucket):
    """Counts how often it is compared."""

    def __init__(self, bucket):
        super().__init__(bucket.link, bucket.name)
        self.looks = 0

    async def identity(self):
        self.looks += 1
        return await super().identity()

    async def compared(self, times):
        until = self.looks + times
        await eventually(lambda: self.looks >= until)


async def test_a_resync_that_finds_nothing_missed_reads_nothing_again(store):
    bucket = Counted(store.pipelines)
    await bucket.put("one", b"1")
    async with watching(watch(bucket, store.link, resync=0.05)) as seen:
        for number in range(3):
            await bucket.compared(10)
            # a new key, a marker, and one that is overwritten
            await bucket.put(f"more-{number}", b"1")
            await bucket.delete(f"more-{number}")
            revision = await bucket.put("one", str(number).encode())
            await eventually(partial(seen.has, "one", revision))
        await bucket.compared(10)
        assert len(seen.snapshots) == 1


async def test_configurations_that_were_not_missed_are_not_read_again(store):
    looks = 0
    identity = store.configs.identity

    async def counted():
        nonlocal looks
        looks += 1
        return await identity()

    store.configs.identity = counted
    await store.configs.put("orders", "1", b"input: {}\n")
    async with watching(watch_configs(store.configs, store.link, resync=0.05)) as seen:
        await store.configs.put("orders", "2", b"input: {}\n")
        await store.configs.put("orders", "2", b"output: {}\n")
        await store.configs.delete("orders", "1")
        await eventually(lambda: seen.now["orders/1"].deleted)
        read = len(seen.snapshots)  # while an object is half written it may be read again
        until = looks + 10
        await eventually(lambda: looks >= until)
        assert len(seen.snapshots) == read
        await store.link.js.purge_stream(store.configs.stream)
        await eventually(lambda: not seen.now)


class Lossy(Bucket):
    """Its feed loses the first message of the key `lost`."""

    def __init__(self, bucket):
        super().__init__(bucket.link, bucket.name)
        self.lost = 0

    @asynccontextmanager
    async def feed(self, pattern, **more):
        async with super().feed(pattern, **more) as feed:
            get = feed.messages.get

            async def heard():
                message = await get()
                if message and message.subject.endswith(".lost") and not self.lost:
                    self.lost += 1
                    message = await get()
                return message

            feed.messages.get = heard
            yield feed


@pytest.mark.fault(13)
async def test_a_message_that_never_came_is_found_by_the_resync(store):
    bucket = Lossy(store.pipelines)
    async with watching(watch(bucket, store.link, resync=0.1)) as seen:
        await bucket.put("lost", b"1")
        await eventually(lambda: seen.values() == {"lost": b"1"})
    assert bucket.lost == 1


@pytest.mark.fault(13)
async def test_what_is_written_while_the_consumer_is_gone_is_found_by_the_resync(store):
    async with watching(watch(store.pipelines, store.link, resync=0.1)) as seen:
        for consumer in await store.link.js.consumers_info(store.pipelines.stream):
            await store.link.js.delete_consumer(store.pipelines.stream, consumer.name)
        await store.pipelines.put("one", b"1")
        await eventually(lambda: seen.values() == {"one": b"1"})


class Opened(Bucket):
    """Keeps its feeds."""

    def __init__(self, bucket):
        super().__init__(bucket.link, bucket.name)
        self.feeds = []

    @asynccontextmanager
    async def feed(self, pattern, **more):
        async with super().feed(pattern, **more) as feed:
            self.feeds.append(feed)
            yield feed


async def test_after_a_gap_that_nats_py_found_everything_is_read_again(store):
    """It goes on with another consumer, whose count says nothing of what came before."""
    bucket = Opened(store.pipelines)
    revision = await bucket.put("one", b"1")
    async with watching(watch(bucket, store.link, resync=0.1)) as seen:
        await bucket.feeds[0].subscription._sub._jsi.reset_ordered_consumer(revision + 1)
        await eventually(lambda: len(seen.snapshots) > 1)
        assert seen.values() == {"one": b"1"}


class Vague(Bucket):
    """It can't be told whether anything of it was missed."""

    def subjects(self, _):
        return None


async def test_a_watch_that_is_opened_anew_reads_everything_again_and_never_goes_back(store):
    bucket = Vague(store.link, store.pipelines.name)
    writing = True

    async def write():
        n = 0
        while writing:
            n += 1
            await store.pipelines.put(f"p{n % 5}", str(n).encode())

    writer = asyncio.create_task(write())
    try:
        async with watching(watch(bucket, store.link, resync=0.05)) as seen:
            await eventually(lambda: len(seen.snapshots) >= 10)
    finally:
        writing = False
        await writer
    last: dict[str, int] = {}
    for item in seen.items:
        if isinstance(item, Snapshot):
            keys = [e.key for e in item.entries]
            assert set(last) <= set(keys)
            assert len(keys) == len(set(keys))
        for entry in item.entries if isinstance(item, Snapshot) else (item.entry,):
            assert entry.revision >= last.get(entry.key, 0)
            last[entry.key] = entry.revision


async def test_a_lost_deletion_is_found_by_the_snapshot(store):
    await store.pipelines.put("one", b"1")
    await store.pipelines.put("two", b"1")
    async with watching(watch(store.pipelines, store.link, resync=0.1)) as seen:
        # not a marker: the message itself is gone, and no watch in the world is told
        await store.link.js.purge_stream(
            store.pipelines.stream, subject=f"$KV.{store.pipelines.name}.one"
        )
        await eventually(lambda: seen.values() == {"two": b"1"})
