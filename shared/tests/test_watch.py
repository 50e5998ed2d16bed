"""Watches on a real server that is restarted, killed, filled, and whose buckets are made again."""

import asyncio
import json
from contextlib import aclosing, asynccontextmanager
from functools import partial

import pytest

from nexthos_shared.errors import StoreUnavailable
from nexthos_shared.names import Names
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.store import Store
from nexthos_shared.store.watch import Change, Snapshot, watch, watch_configs
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually
from nexthos_testing.watching import name, watching


async def everything(items):
    """The next item, which must be a snapshot: what it holds."""
    item = await anext(items)
    assert isinstance(item, Snapshot)
    return item.entries


async def change(items):
    """The next item, which must be a change: the entry."""
    item = await anext(items)
    assert isinstance(item, Change)
    return item.entry


@asynccontextmanager
async def a_daemon(server):
    async with connect(ConnectOptions(server.url), name="test", daemon=True) as link:
        yield link, await Store.open(link, Names("a"), create=True)


async def consumers(store):
    streams = [store.pipelines.stream, store.configs.stream]
    infos = [await store.link.js.stream_info(stream) for stream in streams]
    return sum(info.state.consumer_count for info in infos)


async def no_consumer(store):
    return await consumers(store) == 0


async def make_again(store, bucket):
    config = (await store.link.js.stream_info(bucket.stream)).config
    await store.link.js.delete_stream(bucket.stream)
    await store.link.js.add_stream(config)


async def test_first_everything_then_what_changes(store):
    await store.pipelines.put("one", b"1")
    await store.pipelines.delete("gone")
    async with aclosing(watch(store.pipelines, store.link)) as items:
        first = await anext(items)
        assert isinstance(first, Snapshot)
        assert {e.key: e.value for e in first.entries} == {"one": b"1", "gone": None}
        assert not first.changed_identity
        assert first.identity == await store.pipelines.created()
        await store.pipelines.put("two", b"2")
        await store.pipelines.delete("one")
        changes = [await change(items) for _ in range(2)]
    assert [(e.key, e.value) for e in changes] == [("two", b"2"), ("one", None)]


async def test_an_empty_bucket_is_an_empty_snapshot(store):
    async with aclosing(watch(store.pipelines, store.link)) as items:
        assert await everything(items) == ()


async def test_without_values_keys_revisions_and_markers_come_all_the_same(store):
    await store.pipelines.put("one", b"1")
    await store.pipelines.delete("gone")
    async with watching(watch(store.pipelines, store.link, values=False)) as seen:
        assert seen.values() == {"one": b"", "gone": None}
        revision = await store.pipelines.put("one", b"2")
        await eventually(lambda: seen.has("one", revision))
        assert seen.values() == {"one": b"", "gone": None}


async def test_a_change_has_the_revision_that_the_writer_got(store):
    async with aclosing(watch(store.pipelines, store.link)) as items:
        await anext(items)
        revision = await store.pipelines.put("one", b"1")
        changed = await change(items)
    assert (changed.key, changed.value, changed.revision) == ("one", b"1", revision)


@pytest.mark.fault(9, 10)
@pytest.mark.parametrize("kill", [True, False], ids=["killed", "restarted"])
async def test_changes_come_again_right_after_the_server_is_back(fresh_nats, kill):
    async with a_daemon(fresh_nats) as (link, store):
        await store.pipelines.put("before", b"1")
        async with watching(watch(store.pipelines, link)) as seen:
            await fresh_nats.restart(kill=kill)
            async with connect(ConnectOptions(fresh_nats.url), name="t", daemon=False) as other:
                bucket = Store.of(other, Names("a")).pipelines
                await put_until_taken(bucket, "after", b"2")
            await link.wait_reconnect(0)
            # nats-py's own watch is blind for 10 to 20 s here; the deadline tells them apart
            await eventually(lambda: seen.values().get("after") == b"2", within=4)
            assert seen.values()["before"] == b"1"
            assert not any(s.changed_identity for s in seen.snapshots)


async def put_until_taken(bucket, key, value):
    """JetStream may need a moment after the server is back."""

    async def taken():
        try:
            return await bucket.put(key, value)
        except StoreUnavailable:
            return None

    await eventually(taken)


async def test_what_changes_while_the_client_is_cut_off_is_in_the_next_snapshot(fresh_nats):
    async with a_daemon(fresh_nats) as (link, store):
        await store.pipelines.put("one", b"1")
        async with watching(watch(store.pipelines, link)) as seen:
            await link.nc.force_reconnect()
            await link.wait_reconnect(0)
            await eventually(lambda: len(seen.snapshots) == 2)
            await store.pipelines.put("one", b"2")
            await eventually(lambda: seen.values() == {"one": b"2"})


@pytest.mark.fault(16)
async def test_ten_reconnects_leave_one_consumer(fresh_nats):
    async with a_daemon(fresh_nats) as (link, store):
        async with watching(watch(store.pipelines, link)) as seen:
            for n in range(10):
                await link.nc.force_reconnect()
                await link.wait_reconnect(n)
                await eventually(partial(has_snapshots, seen, n + 2))
            await eventually_count(store, 1)
        await eventually(lambda: no_consumer(store))


def has_snapshots(seen, count):
    return len(seen.snapshots) >= count


async def eventually_count(store, count):
    async def there():
        return await consumers(store) == count

    await eventually(there)


@pytest.mark.fault(18)
async def test_a_bucket_made_again_is_noticed_and_read_whole(store):
    for n in range(20):
        await store.pipelines.put(f"old{n}", b"1")
    async with watching(watch(store.pipelines, store.link, identity_check=0.1)) as seen:
        await make_again(store, store.pipelines)
        # its revisions are all at or below the last one seen: a stock watch skips them silently
        await store.pipelines.put("new", b"2")
        await eventually(lambda: seen.values() == {"new": b"2"})
        last = seen.snapshots[-1]
        assert last.changed_identity
        assert last.identity == await store.pipelines.created()
        await store.pipelines.put("newer", b"3")
        await eventually(lambda: "newer" in seen.values())
        assert sum(s.changed_identity for s in seen.snapshots) == 1


async def test_a_bucket_made_again_is_noticed_under_constant_traffic(store):
    async with watching(watch(store.pipelines, store.link, identity_check=0.1)) as seen:
        writing = True

        async def write():
            while writing:
                await store.link.nc.publish(f"$KV.{store.pipelines.name}.busy", b"x")
                await store.link.nc.flush()

        writer = asyncio.create_task(write())
        try:
            await make_again(store, store.pipelines)
            await eventually(lambda: any(s.changed_identity for s in seen.snapshots))
        finally:
            writing = False
            await writer


async def test_a_missing_bucket_is_waited_for(store):
    await store.pipelines.put("old", b"1")
    config = (await store.link.js.stream_info(store.pipelines.stream)).config
    async with watching(watch(store.pipelines, store.link, identity_check=0.1)) as seen:
        await store.link.js.delete_stream(store.pipelines.stream)
        await eventually(lambda: no_pipelines(store))
        before = len(seen.snapshots)
        await store.link.js.add_stream(config)
        await store.pipelines.put("new", b"2")
        await eventually(lambda: len(seen.snapshots) > before)
        await eventually(lambda: seen.values() == {"new": b"2"})
        assert seen.snapshots[-1].changed_identity or seen.snapshots[-2].changed_identity


async def no_pipelines(store):
    return store.pipelines.name in await store.missing()


async def test_a_watch_may_begin_before_its_bucket_exists(store):
    config = (await store.link.js.stream_info(store.pipelines.stream)).config
    await store.link.js.delete_stream(store.pipelines.stream)
    async with aclosing(watch(store.pipelines, store.link)) as items:
        first = asyncio.create_task(everything(items))
        await asyncio.sleep(0)
        await store.link.js.add_stream(config)
        assert await first == ()


async def test_a_cancelled_watch_leaves_no_consumer_and_no_task_behind(store):
    tasks = len(asyncio.all_tasks())
    for _ in range(10):
        async with watching(watch(store.pipelines, store.link)):
            assert await consumers(store) == 1
    assert await consumers(store) == 0
    await eventually(lambda: len(asyncio.all_tasks()) == tasks)


async def test_a_watch_that_is_left_by_break_gives_its_consumer_back(store):
    async for _ in watch(store.pipelines, store.link):
        break
    await eventually(lambda: no_consumer(store))


async def test_a_thousand_entries_come_whole_while_the_reader_is_slow(store):
    await asyncio.gather(*(store.pipelines.put(f"p{n}", b"x" * 500) for n in range(1000)))
    async with aclosing(watch(store.pipelines, store.link)) as items:
        assert len(await everything(items)) == 1000
        await asyncio.gather(*(store.pipelines.put(f"p{n}", b"y" * 500) for n in range(1000)))
        changed = {(await change(items)).key for _ in range(1000)}
    assert len(changed) == 1000


@pytest.mark.fault(23)
async def test_a_refused_watch_goes_on_trying_and_starts_when_it_may(tmp_path):
    denied = (
        "authorization { users: [{user: u, password: p, permissions: "
        '{publish: {deny: "$JS.API.CONSUMER.CREATE.>"}}}] }'
    )
    async with NatsServer(tmp_path / "n", config=denied) as server:
        options = ConnectOptions(server.url, user="u", password="p")
        async with connect(options, name="test", daemon=True) as link:
            store = await Store.open(link, Names("a"), create=True)
            async with aclosing(watch(store.pipelines, link)) as items:
                first = asyncio.create_task(everything(items))
                await eventually(lambda: not link.refusals or first.done())
                server.config = denied.replace("CONSUMER.CREATE.>", "NOTHING")
                server.reload()
                async with asyncio.timeout(15):
                    assert await first == ()


# Configurations


async def test_configurations_are_watched_with_their_deletions(store):
    await store.configs.put("orders", "1", b"one")
    async with aclosing(watch_configs(store.configs, store.link)) as items:
        assert [name(info) for info in await everything(items)] == ["orders/1"]
        put = await store.configs.put("orders", "2", b"two")
        brought = await change(items)
        assert (name(brought), brought.digest, brought.revision) == (
            "orders/2",
            put.digest,
            put.revision,
        )
        await store.configs.delete("orders", "1")
        brought = await change(items)
    assert (name(brought), brought.deleted) == ("orders/1", True)


async def test_objects_that_are_no_configurations_are_passed_over(store):
    objects = await store.link.js.object_store(store.configs.name)
    await objects.put("Not a configuration", b"x")
    async with aclosing(watch_configs(store.configs, store.link)) as items:
        assert await everything(items) == ()
        await store.link.js.publish(f"$O.{store.configs.name}.M.junk", b"\xff")
        await store.link.js.publish(f"$O.{store.configs.name}.M.more", json.dumps([1]).encode())
        await store.configs.put("orders", "1", b"one")
        assert name(await change(items)) == "orders/1"


async def test_a_configuration_bucket_made_again_is_noticed(store):
    await store.configs.put("orders", "1", b"one")
    async with watching(watch_configs(store.configs, store.link, identity_check=0.1)) as seen:
        await make_again(store, store.configs)
        await store.configs.put("orders", "2", b"two")
        await eventually(lambda: list(seen.now) == ["orders/2"])
