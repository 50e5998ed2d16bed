"""What strangers send to a subscription, store under a key, or slip into a consumer's inbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest
from nats.aio.msg import Msg

from nexthos_shared.nats.connection import Link
from nexthos_shared.store import KvEntry, Store
from nexthos_shared.store.watch import Change, Snapshot, watch
from nexthos_testing.nats import NatsServer
from nexthos_testing.raw import Raw, raw_nats
from nexthos_testing.wait import eventually


@pytest.fixture
async def raw(nats_server: NatsServer) -> AsyncIterator[Raw]:
    async with raw_nats(nats_server.url) as raw:
        yield raw


async def known_to_the_server(link: Link) -> None:
    """Return when a subscription is: nats-py's PING goes before what it still has to send."""
    await link.nc.flush()
    await link.nc.flush()


def commanding(target: str) -> list[bytes]:
    """Headers that have nats-py publish to `target`, or end its reading."""
    to = target.encode()
    return [
        b"NATS/1.0 100 FlowControl Request\r\n\r\n",
        b"NATS/1.0 100 Idle Heartbeat\r\nNats-Consumer-Stalled: " + to + b"\r\n\r\n",
        b"NATS/1.0\r\nStatus: 100\r\nDescription: FlowControl Request\r\n\r\n",
        b"NATS/1.0\r\nStatus: 100\r\nDescription: Idle\r\nNats-Consumer-Stalled: "
        + to
        + b"\r\n\r\n",
        b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: x\r\n\r\n",
        b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: \xc2\xb2\r\n\r\n",
        b"NATS/1.0 \xff\xff\xff\r\n\r\n",
        b"NATS/1.0 100 \xff\r\n\r\n",
        b"NATS/1.0",
        b"NATS/1.0\r\n\xff: \xff\r\n\r\n",
        b"NATS/1.0 409 Consumer Deleted\r\n\r\n",
    ]


@pytest.mark.parametrize(
    "reply", [b"\xff", b"_INBOX.\xff", b"a\x0bb", b"a\x0cb", b"\x00", b"x" * 3000]
)
@pytest.mark.fault(91)
async def test_the_subject_of_a_reply_ends_no_reading(
    link: Link, raw: Raw, namespace: str, reply: bytes
) -> None:
    heard: list[Msg] = []

    async def hear(message: Msg) -> None:
        heard.append(message)

    await link.nc.subscribe(f"{namespace}.a", cb=hear)
    await known_to_the_server(link)
    await raw.send(b"PUB " + f"{namespace}.a ".encode() + reply)
    for headers in commanding("x.y"):
        await raw.send(b"HPUB " + f"{namespace}.a ".encode() + reply, headers)
    await raw.send(f"PUB {namespace}.a".encode(), data=b"last")
    await eventually(lambda: heard and heard[-1].data == b"last")
    assert len(heard) == len(commanding("")) + 2
    assert link.reconnects == 0


@asynccontextmanager
async def everything_sent(link: Link, beginning: str) -> AsyncIterator[list[str]]:
    """Subjects of what is sent in the account, of those that begin so."""
    sent: list[str] = []

    async def record(message: Msg) -> None:
        sent.append(message.subject)

    subscription = await link.nc.subscribe(f"{beginning}.>", cb=record)
    await known_to_the_server(link)
    yield sent
    await subscription.unsubscribe()


async def brings(store: Store, key: str) -> dict[str, KvEntry]:
    """Watch from the beginning until that key comes, and return all that came."""
    found: dict[str, KvEntry] = {}
    async with asyncio.timeout(10.0):
        async with aclosing(watch(store.pipelines, store.link)) as items:
            async for item in items:
                for entry in item.entries if isinstance(item, Snapshot) else (item.entry,):
                    found[entry.key] = entry
                if key in found:
                    return found
    raise AssertionError


@pytest.mark.fault(91)
async def test_who_writes_one_key_has_nothing_published_and_no_watch_ended(
    store: Store, raw: Raw, namespace: str, nats_server: NatsServer
) -> None:
    target, bucket = f"{namespace}.target", store.pipelines.name
    keys = [f"$KV.{bucket}.k{n}".encode() for n in range(len(commanding("")))]
    odd = [f"$KV.{bucket}.{name}".encode() for name in ("a\x0bb", "a\x0cb", "a\x00b")]
    seen: dict[str, KvEntry] = {}
    opened = asyncio.Event()

    async def look() -> None:
        async with aclosing(watch(store.pipelines, store.link)) as items:
            async for item in items:
                opened.set()
                if isinstance(item, Change):
                    seen[item.entry.key] = item.entry

    async with everything_sent(store.link, namespace) as sent:
        looking = asyncio.create_task(look())
        await opened.wait()
        for key, headers in zip(keys, commanding(f"{target}.x"), strict=True):
            await raw.send(b"HPUB " + key, headers)
        for key in odd:
            await raw.send(b"PUB " + key, data=b"{}")
        await store.pipelines.put("last", b"{}")
        await eventually(lambda: "last" in seen)
        assert len(seen) == len(keys) + len(odd) + 1
        assert len(await brings(store, "last")) == len(seen)
        await store.link.nc.flush()
        assert sent == []
    looking.cancel()
    assert store.link.reconnects == 0


@pytest.mark.fault(91)
async def test_what_is_slipped_into_the_inbox_of_a_feed_is_dropped(
    store: Store, raw: Raw, namespace: str
) -> None:
    target = f"{namespace}.target.x"
    async with everything_sent(store.link, namespace) as sent, store.pipelines.feed(">") as feed:
        inbox = feed.subscription._sub.subject.encode()
        for reply in (b"", b" " + target.encode()):
            for headers in commanding(target):
                await raw.send(b"HPUB " + inbox + reply, headers)
            await raw.send(b"PUB " + inbox + reply, data=b'{"status": "published"}')
        await store.pipelines.put("real", b"{}")
        async with asyncio.timeout(10.0):
            message = await feed.messages.get()
        assert message is not None
        assert store.pipelines.read(message).key == "real"
        await store.link.nc.flush()
        assert sent == []
    assert store.link.reconnects == 0
