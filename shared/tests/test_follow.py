"""Following a key, for people who wait at a terminal."""

import asyncio
from contextlib import aclosing

import pytest

from nexthos_shared.errors import NotPermitted, StoreMissing, StoreUnavailable
from nexthos_shared.names import Names
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.store import Store
from nexthos_shared.store.watch import follow
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually


async def put_until_taken(bucket, key, value):
    """JetStream may need a moment after the server is back."""

    async def taken():
        try:
            return await bucket.put(key, value)
        except StoreUnavailable:
            return None

    await eventually(taken)


async def test_following_a_key_brings_what_it_holds_and_then_what_is_written(store):
    await store.statuses.put("orders", b"1")
    await store.statuses.put("other", b"x")
    async with aclosing(follow(store.statuses, "orders")) as entries:
        assert (await anext(entries)).value == b"1"
        await store.statuses.put("other", b"y")
        await store.statuses.put("orders", b"2")
        assert (await anext(entries)).value == b"2"
        await store.statuses.delete("orders")
        assert (await anext(entries)).value is None
    assert await store.link.js.stream_info(store.statuses.stream)
    info = await store.link.js.stream_info(store.statuses.stream)
    assert info.state.consumer_count == 0


async def test_following_goes_on_after_a_restart_and_repeats_nothing(fresh_nats):
    async with connect(ConnectOptions(fresh_nats.url), name="test", daemon=False) as link:
        store = await Store.open(link, Names("a"), create=True)
        await store.statuses.put("orders", b"1")
        async with aclosing(follow(store.statuses)) as entries:
            assert (await anext(entries)).value == b"1"
            following = asyncio.create_task(anext(entries))
            await fresh_nats.restart(kill=True)
            await link.wait_reconnect(0)
            await put_until_taken(store.statuses, "orders", b"2")
            async with asyncio.timeout(4):
                assert (await following).value == b"2"


async def test_following_what_does_not_exist_is_an_error(store):
    await store.link.js.delete_stream(store.statuses.stream)
    with pytest.raises(StoreMissing, match="status"):
        await anext(follow(store.statuses))


async def test_following_ends_with_an_error_when_the_connection_is_given_up(fresh_nats):
    async with connect(ConnectOptions(fresh_nats.url), name="test", daemon=False) as link:
        store = await Store.open(link, Names("a"), create=True)
        await store.statuses.put("orders", b"1")
        async with aclosing(follow(store.statuses)) as entries:
            await anext(entries)
            link.nc.options["max_reconnect_attempts"] = 1
            await fresh_nats.kill()
            async with asyncio.timeout(15):
                with pytest.raises(StoreUnavailable):
                    await anext(entries)


async def test_following_without_permission_is_an_error(tmp_path):
    config = (
        "authorization { users: [{user: a, password: p}, {user: u, password: p, "
        'permissions: {publish: {deny: "$JS.API.STREAM.INFO.>"}}}] }'
    )
    async with NatsServer(tmp_path / "n", config=config) as server:
        options = ConnectOptions(server.url, user="a", password="p")
        async with connect(options, name="test", daemon=False) as link:
            await Store.open(link, Names("a"), create=True)
        options = ConnectOptions(server.url, user="u", password="p")
        async with connect(options, name="test", daemon=False) as link:
            with pytest.raises(NotPermitted, match=r"STREAM\.INFO"):
                await anext(follow(Store.of(link, Names("a")).statuses))
