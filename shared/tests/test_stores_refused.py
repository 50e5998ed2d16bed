"""What the server refuses or can't do comes out as one of our errors, at once, and naming the thing."""

import asyncio
import os

import pytest

from nexthos_shared.errors import (
    NotPermitted,
    StoreMissing,
    StoreUnavailable,
)
from nexthos_shared.names import Names
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.store import Store
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually


def linked(server, **options):
    return connect(ConnectOptions(server.url, **options), name="test", daemon=False)


def permissions(namespace, *denied):
    subjects = ", ".join(f'"{d.format(ns=namespace)}"' for d in denied)
    return (
        "authorization { users: [{user: admin, password: p}, "
        f"{{user: u, password: p, permissions: {{publish: {{deny: [{subjects}]}}}}}}] }}"
    )


@pytest.mark.fault(23)
@pytest.mark.parametrize(
    ("denied", "shown", "call"),
    [
        (
            "$KV.{ns}-status.Orders",
            "$KV.{ns}-status.Orders",
            lambda s: s.statuses.put("Orders", b""),
        ),
        (
            "$JS.API.DIRECT.GET.KV_{ns}-pipelines.>",
            "$JS.API.DIRECT.GET.KV_{ns}-pipelines.$KV.{ns}-pipelines.Orders",
            lambda s: s.pipelines.get("Orders"),
        ),
        (
            "$JS.API.CONSUMER.CREATE.>",
            "$JS.API.CONSUMER.CREATE.KV_{ns}-pipelines",
            lambda s: s.pipelines.snapshot(),
        ),
        (
            "$JS.API.STREAM.INFO.>",
            "$JS.API.STREAM.INFO.KV_{ns}-pipelines",
            lambda s: s.pipelines.created(),
        ),
        (
            "$JS.API.DIRECT.GET.>",
            "$JS.API.DIRECT.GET.OBJ_{ns}-configs.$O.{ns}-configs.M.b3JkZXJzLzE=",
            lambda s: s.configs.get("orders", "1"),
        ),
        ("$O.{ns}-configs.C.>", "$O.{ns}-configs.C.", lambda s: s.configs.put("orders", "1", b"x")),
        (
            "$O.{ns}-configs.M.>",
            "$O.{ns}-configs.M.b3JkZXJzLzE=",
            lambda s: s.configs.put("orders", "1", b"x"),
        ),
    ],
)
async def test_a_refused_subject_is_named_at_once_and_each_time(
    tmp_path, namespace, denied, shown, call
):
    config = permissions(namespace, denied)
    async with NatsServer(tmp_path / "n", config=config) as server:
        async with linked(server, user="admin", password="p") as admin:
            await Store.open(admin, Names(namespace), create=True)
        async with linked(server, user="u", password="p") as link:
            store = Store.of(link, Names(namespace))
            for _ in range(2):  # the same words twice: both calls must be told
                async with asyncio.timeout(2):
                    with pytest.raises(NotPermitted) as refused:
                        await call(store)
                assert shown.format(ns=namespace) in str(refused.value)
            await link.nc.flush()


@pytest.mark.fault(23)
async def test_a_refusal_ends_only_the_call_that_it_is_about(tmp_path, namespace):
    config = permissions(namespace, "$KV.{ns}-status.denied")
    async with NatsServer(tmp_path / "n", config=config) as server:
        async with linked(server, user="admin", password="p") as admin:
            await Store.open(admin, Names(namespace), create=True)
        async with linked(server, user="u", password="p") as link:
            store = Store.of(link, Names(namespace))
            keys = [*(f"allowed{n}" for n in range(20)), "denied", "denied.not"]
            results = await asyncio.gather(
                *(store.statuses.put(key, b"1") for key in keys), return_exceptions=True
            )
            by_key = dict(zip(keys, results, strict=True))
            assert isinstance(by_key.pop("denied"), NotPermitted)
            assert all(isinstance(result, int) for result in by_key.values()), by_key


async def test_without_jetstream_it_is_said(tmp_path):
    async with NatsServer(tmp_path / "n", jetstream=None) as server, linked(server) as link:
        with pytest.raises(StoreUnavailable, match="-js"):
            await Store.open(link, Names("a"), create=True)


@pytest.mark.fault(22)
async def test_a_full_server_is_said_in_its_words_and_reading_goes_on(tmp_path):
    small = NatsServer(tmp_path / "n", jetstream="max_file_store: 256KB")
    async with small as server, linked(server) as link:
        store = await Store.open(link, Names("a"), create=True)
        await store.pipelines.put("orders", b"1")
        with pytest.raises(StoreUnavailable, match=r"resource|maximum|exceed"):
            await store.configs.put("orders", "1", os.urandom(1024 * 1024))
        assert [e.value for e in await store.pipelines.history("orders")] == [b"1"]
        assert await store.configs.info("orders", "1") is None


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.pipelines.get("a"),
        lambda s: s.pipelines.put("a", b""),
        lambda s: s.pipelines.update("a", b"", 0),
        lambda s: s.pipelines.delete("a"),
        lambda s: s.pipelines.history("a"),
        lambda s: s.pipelines.snapshot(),
        lambda s: s.pipelines.created(),
        lambda s: s.configs.info("a", "1"),
        lambda s: s.configs.get("a", "1"),
        lambda s: s.configs.put("a", "1", b""),
        lambda s: s.configs.list(),
    ],
)
class TestWhateverIsCalled:
    async def test_a_missing_bucket_is_store_missing(self, call, store):
        for stream in store._streams().values():
            await store.link.js.delete_stream(stream)
        async with asyncio.timeout(3):
            with pytest.raises(StoreMissing, match=store.names.namespace):
                await call(store)

    async def test_while_nats_is_away_it_says_so_at_once(self, call, fresh_nats):
        async with linked(fresh_nats) as link:
            store = await Store.open(link, Names("a"), create=True)
            await fresh_nats.kill()
            async with asyncio.timeout(8):
                with pytest.raises(StoreUnavailable):
                    await call(store)


async def test_a_write_that_failed_while_nats_was_away_is_not_sent_later(fresh_nats):
    async with linked(fresh_nats) as link:
        store = await Store.open(link, Names("a"), create=True)
        await fresh_nats.kill()
        await eventually(lambda: not link.nc.is_connected)
        with pytest.raises(StoreUnavailable, match="away"):
            await store.pipelines.put("orders", b"1")
        await fresh_nats.start()
        await link.wait_reconnect(0)
        await store.pipelines.put("other", b"1")
        assert [e.key for e in await store.pipelines.snapshot()] == ["other"]


async def test_a_bucket_without_direct_gets_is_named_with_the_cure(store):
    config = (await store.link.js.stream_info(store.pipelines.stream)).config
    await store.link.js.update_stream(config.evolve(allow_direct=False))
    with pytest.raises(StoreUnavailable, match="--allow-direct"):
        await store.pipelines.get("orders")
