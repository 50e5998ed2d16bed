"""NATS dies or freezes in the middle: it is asked again until its time is up, and written once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from nexthos_shared.errors import NotPermitted, StoreUnavailable
from nexthos_shared.names import Names
from nexthos_shared.nats.connection import ConnectOptions, Link, connect
from nexthos_shared.store import Store
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually

LONG = 600.0  # seconds, longer than a test may take
CONTENT = b"x" * 300_000  # three chunks


async def create(store: Store) -> None:
    assert await store.pipelines.create("new", b"{}") > 0


async def update(store: Store) -> None:
    entry = await store.pipelines.get("orders")
    assert entry is not None
    await store.pipelines.update("orders", b'{"a": 1}', entry.revision)


async def put(store: Store) -> None:
    await store.pipelines.put("orders", b'{"a": 2}')


async def delete(store: Store) -> None:
    await store.pipelines.delete("orders")


async def configure(store: Store) -> None:
    await store.configs.put("orders", "2", CONTENT)
    assert await store.configs.get("orders", "2") == CONTENT


async def replace(store: Store) -> None:
    await store.configs.put("orders", "1", CONTENT)
    assert await store.configs.get("orders", "1") == CONTENT


async def look(store: Store) -> None:
    assert [e.key for e in await store.pipelines.snapshot()] == ["orders"]
    assert len(await store.configs.list()) == 1
    assert await store.missing() == []


async def setup(store: Store) -> None:
    assert (await store.setup()).created == []


async def forget(store: Store) -> None:
    assert await store.configs.delete_all("orders") == ["1"]


WORK = [create, update, put, delete, configure, replace, look, setup, forget]
WRITTEN = {"create": {"orders": 1, "new": 1}, "update": 2, "put": 2, "delete": 2}


@pytest.fixture
async def link(fresh_nats: NatsServer) -> AsyncIterator[Link]:
    options = ConnectOptions(fresh_nats.url)
    async with connect(options, name="test", daemon=False, within=LONG) as link:
        yield link


@pytest.fixture
async def store(link: Link, namespace: str) -> Store:
    store = await Store.open(link, Names(namespace), create=True)
    await store.pipelines.put("orders", b"{}")
    await store.configs.put("orders", "1", b"input: {}")
    return store


async def is_whole(store: Store, work: Callable[[Store], Coroutine[Any, Any, None]]) -> None:
    """Nothing was written twice, and no chunk is left over or doubled."""
    expected: Any = WRITTEN.get(work.__name__, 1)
    expected = expected if isinstance(expected, dict) else {"orders": expected}
    found = await store.pipelines.snapshot()
    assert {e.key: len(await store.pipelines.history(e.key)) for e in found} == expected
    for info in await store.configs.list():
        await store.configs.get(info.id, info.version)


@pytest.mark.fault(135)
@pytest.mark.parametrize("work", WORK, ids=lambda work: work.__name__)
@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_what_is_asked_while_nats_is_away_is_done_once_it_is_back(
    fresh_nats: NatsServer,
    link: Link,
    store: Store,
    work: Callable[[Store], Coroutine[Any, Any, None]],
    how: str,
):
    if how == "killed":
        await fresh_nats.kill()
    else:
        await fresh_nats.freeze()
    doing = asyncio.create_task(work(store))
    try:
        await eventually(lambda: not link.nc.is_connected, within=20.0)
        assert not doing.done()
    finally:
        if how == "killed":
            await fresh_nats.start()
        else:
            fresh_nats.signal(signal.SIGCONT)
    async with asyncio.timeout(40.0):
        await doing
    await is_whole(store, work)


@pytest.mark.fault(135)
@pytest.mark.parametrize("work", WORK, ids=lambda work: work.__name__)
async def test_what_is_on_its_way_when_nats_is_killed_is_done_once(
    fresh_nats: NatsServer, store: Store, work: Callable[[Store], Coroutine[Any, Any, None]]
):
    doing = asyncio.create_task(work(store))
    await asyncio.sleep(0)
    await fresh_nats.restart(kill=True)
    async with asyncio.timeout(40.0):
        await doing
    await is_whole(store, work)


@pytest.mark.fault(135)
async def test_a_controller_is_told_at_once(fresh_nats: NatsServer, namespace: str):
    async with connect(ConnectOptions(fresh_nats.url), name="test", daemon=True) as link:
        store = await Store.open(link, Names(namespace), create=True)
        await fresh_nats.stop()
        await eventually(lambda: not link.nc.is_connected, within=20.0)
        with pytest.raises(StoreUnavailable, match="away"):
            await store.pipelines.get("orders")


@pytest.mark.fault(135)
async def test_a_login_that_is_refused_meanwhile_is_told_at_once(
    fresh_nats: NatsServer, link: Link, store: Store
):
    await fresh_nats.stop()
    fresh_nats.config = "authorization { user: a, password: b }"
    await fresh_nats.start()
    with pytest.raises(NotPermitted, match="refuses these credentials"):
        async with asyncio.timeout(40.0):
            await store.pipelines.get("orders")
