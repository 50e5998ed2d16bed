"""Configurations handed out to runners: part after part, to who asks on the pipeline's own subject."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from nats.aio.msg import Msg
from nats.js.api import ObjectMeta, ObjectMetaOptions

from nexthos_controller.api.config_parts import REMEMBERED, WAITING, Handout
from nexthos_controller.executors.fake import FakeWorld
from nexthos_shared.names import DIGEST_HEADER, SIZE_HEADER, Names, digest_of
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.reasons import Reason
from nexthos_shared.store import Store
from nexthos_testing.handing_out import handing_out
from nexthos_testing.house import Builder
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually

ORDERS, THEIRS = b"input: {stdin: {}} # orders\n", b"input: {stdin: {}} # secrets\n"
LARGE = b"# 0123456789abcdef\n" * 40_000


@pytest.fixture
async def handout(nats_server: NatsServer, store: Store) -> AsyncIterator[Handout]:
    await store.configs.put("orders", "1", ORDERS)
    await store.configs.put("secrets", "1", THEIRS)
    async with handing_out(ConnectOptions(nats_server.url), store.names.namespace) as handout:
        yield handout


async def ask(store: Store, key: str, **request: Any) -> Msg:
    body = json.dumps({"version": "1", **request}).encode()
    reply: Msg = await store.link.nc.request(store.names.config_subject(key), body, timeout=10)
    return reply


async def error(store: Store, key: str, **request: Any) -> tuple[str, str]:
    reply = await ask(store, key, **request)
    assert reply.headers is not None
    told = json.loads(reply.data)
    assert reply.headers["Nats-Service-Error-Code"] == str(told["code"])
    return reply.headers["Nats-Service-Error-Code"], told["reason"]


async def whole(store: Store, key: str, **request: Any) -> tuple[bytes, int]:
    """All parts put together, and how many they were."""
    content, parts, size = b"", 0, 1
    while len(content) < size:
        reply = await ask(store, key, offset=len(content), **request)
        assert reply.headers is not None
        size = int(reply.headers[SIZE_HEADER])
        request["digest"] = reply.headers[DIGEST_HEADER]
        content += reply.data
        parts += 1
    assert digest_of(content) == request["digest"]
    return content, parts


async def test_a_configuration_comes_in_parts_with_digest_and_size_of_the_whole(
    store: Store, handout: Handout
) -> None:
    assert await whole(store, "orders") == (ORDERS, 1)
    await store.configs.put("orders", "2", LARGE)
    content, parts = await whole(store, "orders", version="2")
    assert (content == LARGE, parts) == (True, 3)
    await store.configs.put("orders", "3", b"")
    reply = await ask(store, "orders", version="3")
    assert (reply.data, reply.headers) == (
        b"",
        {DIGEST_HEADER: digest_of(b""), SIZE_HEADER: "0"},
    )


async def test_what_can_not_be_had_is_told_as_all_endpoints_tell_it(
    store: Store, handout: Handout
) -> None:
    assert await error(store, "orders", version="2") == ("404", Reason.CONFIG_MISSING)
    assert await error(store, "nothing") == ("404", Reason.CONFIG_MISSING)
    other = digest_of(THEIRS)
    assert await error(store, "orders", digest=other) == ("422", Reason.CONFIG_CHANGED)
    for wrong in ({"offset": -1}, {"digest": "x"}, {"version": 1}, {"id": "secrets"}):
        assert await error(store, "orders", **wrong) == ("400", Reason.INVALID_REQUEST)
    assert await error(store, "orders", version="../secrets/1") == ("400", Reason.INVALID_NAME)
    assert await error(store, "Orders") == ("400", Reason.INVALID_NAME)


@pytest.mark.fault(68)
async def test_another_pipelines_digest_opens_nothing_not_even_what_is_remembered(
    store: Store, handout: Handout
) -> None:
    theirs = digest_of(THEIRS)
    assert await whole(store, "secrets", digest=theirs) == (THEIRS, 1)
    for offset in (0, 1):
        reply = await error(store, "orders", digest=theirs, offset=offset)
        assert reply == ("422", Reason.CONFIG_CHANGED)


async def test_what_was_deleted_or_overwritten_is_not_begun_from_memory(
    store: Store, handout: Handout
) -> None:
    assert await whole(store, "orders") == (ORDERS, 1)
    await store.configs.put("orders", "1", THEIRS)
    digest = digest_of(ORDERS)
    assert await error(store, "orders", digest=digest) == ("422", Reason.CONFIG_CHANGED)
    assert await whole(store, "orders") == (THEIRS, 1)
    await store.configs.delete("orders", "1")
    assert await error(store, "orders") == ("404", Reason.CONFIG_MISSING)


async def test_the_next_parts_are_of_the_bytes_of_the_first(store: Store, handout: Handout) -> None:
    await store.configs.put("orders", "2", LARGE)
    first = await ask(store, "orders", version="2")
    assert first.headers is not None
    await store.configs.put("orders", "2", ORDERS)
    digest, offset = first.headers[DIGEST_HEADER], len(first.data)
    second = await ask(store, "orders", version="2", digest=digest, offset=offset)
    assert second.data == LARGE[offset : 2 * offset]


async def test_only_the_last_few_are_remembered(store: Store, handout: Handout) -> None:
    for n in range(REMEMBERED + 3):
        await store.configs.put("orders", f"v{n}", b"# %d\n" % n)
        await ask(store, "orders", version=f"v{n}")
    assert len(handout._kept) == REMEMBERED


async def test_a_part_is_no_larger_than_the_server_lets_through(
    namespace: str, tmp_path: Path
) -> None:
    async with (
        NatsServer(tmp_path / "n", config="max_payload: 64KB") as server,
        connect(ConnectOptions(server.url), name="test", daemon=False) as link,
        handing_out(ConnectOptions(server.url), namespace),
    ):
        store = await Store.open(link, Names(namespace), create=True)
        content = LARGE[:200_000]
        objects = await link.js.object_store(store.configs.name)
        meta = ObjectMeta(name="orders/1", options=ObjectMetaOptions(max_chunk_size=32 * 1024))
        await objects.put("orders/1", content, meta=meta)
        found, parts = await whole(store, "orders")
        assert (found == content, parts) == (True, 4)


@pytest.mark.fault(95)
async def test_who_asks_too_much_for_one_pipeline_is_told_and_keeps_no_other_waiting(
    store: Store, handout: Handout, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = asyncio.Event()
    info = store.configs.info

    async def slow(key: str, version: str) -> Any:
        if key == "orders":
            await held.wait()
        return await info(key, version)

    monkeypatch.setattr(handout._configs, "info", slow)  # its own, not that of `store`
    # One reader is left for others, however many ask.
    monkeypatch.setattr(handout, "_readers", asyncio.Semaphore(WAITING + 1))
    flood = [asyncio.create_task(ask(store, "orders")) for _ in range(WAITING * 4)]
    refused = await eventually(lambda: [t for t in flood if t.done()][: WAITING * 3])
    assert await whole(store, "secrets") == (THEIRS, 1)
    held.set()
    replies = await asyncio.gather(*flood)
    codes = [(r.headers or {}).get("Nats-Service-Error-Code") for r in replies]
    assert refused
    assert (codes.count("429"), codes.count(None)) == (WAITING * 3, WAITING)


async def test_whoever_acts_and_whoever_stands_by_hands_out_the_same(
    builder: Builder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[Handout] = set()
    part = Handout.part

    async def noted(self: Handout, *arguments: Any) -> Any:
        asked.add(self)
        return await part(self, *arguments)

    monkeypatch.setattr(Handout, "part", noted)
    other = Builder(builder.url, builder.namespace, builder.state_dir, FakeWorld())
    async with builder.house() as first, other.house(leads=False):
        await first.publish("orders")
        seen = set()

        async def both() -> bool:
            seen.add((await ask(store, "orders")).data)
            return len(asked) == 2

        await eventually(both)
        assert len(seen) == 1
