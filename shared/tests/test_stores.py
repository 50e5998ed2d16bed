"""Buckets and keys on a real server, with the traps that nats-py and JetStream have set on purpose."""

import asyncio

import pytest
from nats.js import api as js_api

from nexthos_shared.errors import (
    InvalidName,
    StoreConflict,
    StoreMissing,
    StoreUnavailable,
)
from nexthos_shared.names import Names
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.store import Store
from nexthos_testing.wait import eventually

CONFIG = b"input: {stdin: {}}\n"


def linked(server, **options):
    return connect(ConnectOptions(server.url, **options), name="test", daemon=False)


async def consumers(store):
    streams = [store.pipelines.stream, store.statuses.stream, store.control.stream]
    infos = [await store.link.js.stream_info(s) for s in [*streams, store.configs.stream]]
    return sum(info.state.consumer_count for info in infos)


# One key


async def test_a_key_that_never_held_anything_is_none(store):
    assert await store.pipelines.get("orders") is None


async def test_what_was_put_is_read_with_its_revision(store):
    revision = await store.pipelines.put("orders", b"one")
    entry = await store.pipelines.get("orders")
    assert (entry.key, entry.revision, entry.value) == ("orders", revision, b"one")
    assert entry.created > 1_700_000_000


async def test_an_empty_value_is_a_value_and_no_marker(store):
    await store.pipelines.put("orders", b"")
    assert (await store.pipelines.get("orders")).value == b""


async def test_a_deleted_key_is_a_marker(store):
    revision = await store.pipelines.put("orders", b"one")
    await store.pipelines.delete("orders")
    entry = await store.pipelines.get("orders")
    assert entry.value is None
    assert entry.revision > revision


async def test_deleting_an_absent_key_writes_the_proof(store):
    await store.pipelines.delete("orders")
    assert (await store.pipelines.get("orders")).value is None


async def test_create_works_once(store):
    await store.control.create("lease", b"me")
    with pytest.raises(StoreConflict, match="lease"):
        await store.control.create("lease", b"you")


@pytest.mark.parametrize("header", [{"KV-Operation": "DEL"}, {"KV-Operation": "PURGE"}])
async def test_create_works_over_any_marker(store, header):
    await store.control.put("lease", b"old")
    await store.link.js.publish(f"$KV.{store.control.name}.lease", b"", headers=header)
    assert (await store.control.get("lease")).value is None
    await store.control.create("lease", b"new")
    assert (await store.control.get("lease")).value == b"new"


async def test_an_expired_key_is_gone_and_created_anew(store):
    await store.control.update("lease", b"me", 0, ttl=1)

    async def gone():
        return await store.control.get("lease") is None

    await eventually(gone)
    await store.control.create("lease", b"you")
    assert (await store.control.get("lease")).value == b"you"


@pytest.mark.fault(20)
async def test_update_decides_by_the_revision(store):
    first = await store.statuses.update("orders", b"1", 0)
    second = await store.statuses.update("orders", b"2", first)
    for outdated in (0, first, second + 100):
        with pytest.raises(StoreConflict, match="somebody else"):
            await store.statuses.update("orders", b"3", outdated)
    assert (await store.statuses.get("orders")).value == b"2"


async def test_an_update_may_give_the_key_another_time_to_live(store):
    first = await store.control.update("lease", b"me", 0, ttl=1)
    second = await store.control.update("lease", b"me", first, ttl=600)
    with pytest.raises(StoreConflict):
        await store.control.update("lease", b"you", first, ttl=1)
    await store.control.update("other", b"me", 0, ttl=1)

    async def other_is_over():
        return await store.control.get("other") is None

    await eventually(other_is_over)
    assert (await store.control.get("lease")).revision == second


async def test_delete_decides_by_the_revision_if_one_is_given(store):
    first = await store.pipelines.put("orders", b"1")
    second = await store.pipelines.put("orders", b"2")
    with pytest.raises(StoreConflict):
        await store.pipelines.delete("orders", first)
    await store.pipelines.delete("orders", second)
    assert (await store.pipelines.get("orders")).value is None


async def test_of_many_updates_at_once_one_wins(store):
    results = await asyncio.gather(
        *(store.control.update("lease", str(n).encode(), 0) for n in range(20)),
        return_exceptions=True,
    )
    assert sum(isinstance(r, int) for r in results) == 1
    assert sum(isinstance(r, StoreConflict) for r in results) == 19


@pytest.mark.fault(51)
@pytest.mark.parametrize(
    "key", ["", "a..b", "a/../../x", ".a", "a.", "a b", "*", "a.>", "a\n", "x" * 2000]
)
async def test_a_key_that_nats_does_not_take_is_refused_at_once(store, key):
    async with asyncio.timeout(1):
        for call in (store.pipelines.get, store.pipelines.delete, store.pipelines.history):
            with pytest.raises(InvalidName, match="not a key"):
                await call(key)


@pytest.mark.parametrize("key", ["A", "a.b", "x" * 300, "a/b", "é"])
async def test_a_raw_key_that_is_no_id_is_stored_and_read(store, key):
    await store.pipelines.put(key, b"1")
    assert (await store.pipelines.get(key)).value == b"1"
    assert [e.key for e in await store.pipelines.snapshot()] == [key]


# Many keys


async def test_history_is_oldest_first_with_markers(store):
    assert await store.pipelines.history("orders") == []
    await store.pipelines.put("orders", b"1")
    await store.pipelines.put("other", b"x")
    await store.pipelines.delete("orders")
    await store.pipelines.put("orders", b"2")
    assert [e.value for e in await store.pipelines.history("orders")] == [b"1", None, b"2"]


async def test_a_snapshot_has_the_last_entry_of_every_key_markers_included(store):
    assert await store.pipelines.snapshot() == []
    for n in range(300):
        await store.pipelines.put(f"p{n % 100}", str(n).encode())
    await store.pipelines.delete("p0")
    await store.pipelines.delete("never")
    found = {e.key: e.value for e in await store.pipelines.snapshot()}
    assert found == {f"p{n}": str(200 + n).encode() for n in range(1, 100)} | {
        "p0": None,
        "never": None,
    }


async def test_a_snapshot_is_whole_while_others_write_and_delete(store):
    fixed = {f"fixed{n}" for n in range(200)}
    for key in fixed:
        await store.pipelines.put(key, b"x")
    writing = True

    async def write():
        n = 0
        while writing:
            n += 1
            await store.pipelines.put(f"moving{n % 20}", str(n).encode())
            await store.pipelines.delete(f"moving{(n + 10) % 20}")

    writer = asyncio.create_task(write())
    try:
        for _ in range(30):
            keys = [e.key for e in await store.pipelines.snapshot()]
            assert fixed <= set(keys)
    finally:
        writing = False
        await writer


async def test_reads_and_snapshots_leave_no_consumer_behind(store):
    await store.pipelines.put("orders", b"1")
    await store.configs.put("orders", "1", CONFIG)
    for _ in range(60):
        await store.pipelines.history("orders")
        await store.pipelines.snapshot()
        await store.configs.get("orders", "1")
        await store.configs.list()
    assert await consumers(store) == 0


async def test_a_feed_that_is_cancelled_leaves_no_consumer_behind(store):
    opened = asyncio.Event()

    async def read_for_ever():
        async with store.pipelines.feed(">") as feed:
            opened.set()
            await feed.messages.get()

    for _ in range(5):
        opened.clear()
        reader = asyncio.create_task(read_for_ever())
        await opened.wait()
        assert await consumers(store) == 1
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
    assert await consumers(store) == 0


async def test_a_bucket_made_again_has_another_identity(store):
    first = await store.pipelines.created()
    assert await store.pipelines.created() == first
    config = (await store.link.js.stream_info(store.pipelines.stream)).config
    await store.link.js.delete_stream(store.pipelines.stream)
    with pytest.raises(StoreMissing, match="pipelines"):
        await store.pipelines.created()
    await store.link.js.add_stream(config)
    assert await store.pipelines.created() != first


async def test_a_key_that_is_not_utf_8_makes_nobody_deaf(store, nats_server):
    reader, writer = await asyncio.open_connection("127.0.0.1", nats_server.port)
    writer.write(b'CONNECT {"verbose":false}\r\n')
    writer.write(b"PUB $KV." + store.pipelines.name.encode() + b".\xff 2\r\n{}\r\nPING\r\n")
    while b"PONG" not in await reader.readline():
        pass
    writer.close()
    await writer.wait_closed()

    await store.pipelines.put("orders", b"1")

    assert {e.key for e in await store.pipelines.snapshot()} == {"\\xff", "orders"}
    assert (await store.pipelines.get("orders")).value == b"1"


# The buckets


async def test_the_buckets_are_as_the_architecture_says(store):
    async def config(stream):
        return (await store.link.js.stream_info(stream)).config

    pipelines = await config(store.pipelines.stream)
    statuses = await config(store.statuses.stream)
    control = await config(store.control.stream)
    configs = await config(store.configs.stream)
    everyone = [pipelines, statuses, control, configs]
    assert [c.allow_direct for c in everyone] == [True] * 4
    assert [c.storage for c in everyone] == [js_api.StorageType.FILE] * 4
    assert [c.allow_rollup_hdrs for c in everyone] == [False, False, False, True]
    assert [c.max_msgs_per_subject for c in everyone] == [64, 1, 1, -1]
    assert control.allow_msg_ttl
    # The server allows rollups by itself where it is to leave markers of what expired.
    assert control.subject_delete_marker_ttl is None


async def test_a_definition_that_is_too_large_is_refused_by_nats_and_not_cut(store):
    await store.pipelines.put("orders", b"x" * 65 * 1024)  # ours to call Invalid
    with pytest.raises(StoreUnavailable, match="exceed"):
        await store.pipelines.put("orders", b"x" * 200 * 1024)
    assert len((await store.pipelines.get("orders")).value) == 65 * 1024


async def test_a_store_that_does_not_exist_is_not_made_unasked(link, namespace):
    with pytest.raises(StoreMissing, match=f"{namespace}.*nexthos setup"):
        await Store.open(link, Names(namespace), create=False)


@pytest.mark.fault(17)
async def test_a_missing_bucket_beside_others_is_named_and_not_made(store, namespace):
    await store.pipelines.put("orders", b"{}")
    await store.link.js.delete_stream(store.configs.stream)
    for create in (True, False):
        with pytest.raises(StoreMissing, match=f"{namespace}-configs") as missing:
            await Store.open(store.link, Names(namespace), create=create)
        assert f"{namespace}-pipelines" not in str(missing.value)
    assert await store.missing() == [store.configs.name]
    assert (await store.setup()).created == [store.configs.name]
    await Store.open(store.link, Names(namespace), create=False)


async def test_a_missing_bucket_beside_empty_ones_is_made(store, namespace):
    """A limit of the account may have refused it."""
    await store.link.js.delete_stream(store.configs.stream)
    with pytest.raises(StoreMissing, match=f"{namespace}-configs"):
        await Store.open(store.link, Names(namespace), create=False)
    await Store.open(store.link, Names(namespace), create=True)
    assert await store.missing() == []


async def test_many_that_create_at_once_all_succeed(nats_server, link, namespace):
    async def open_on_its_own():
        async with linked(nats_server) as own:
            store = await Store.open(own, Names(namespace), create=True)
            return await store.installation()

    found = await asyncio.gather(*(open_on_its_own() for _ in range(8)))
    assert len(set(found)) == 1


async def test_the_installation_is_made_once(store):
    first = await store.installation()
    assert len(first) == 12
    assert int(first, 16) >= 0
    assert await store.installation() == first


async def test_two_namespaces_do_not_see_each_other(link, namespace):
    one = await Store.open(link, Names(f"{namespace}a"), create=True)
    two = await Store.open(link, Names(f"{namespace}b"), create=True)
    await one.pipelines.put("orders", b"1")
    assert await two.pipelines.get("orders") is None
    assert await one.installation() != await two.installation()
