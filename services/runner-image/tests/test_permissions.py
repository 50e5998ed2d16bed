# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, no-warn-unreachable
"""A runner's user may ask for its own configuration, and that is all: nothing else is read or written.

The permissions are those that the README tells an operator to write.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest

from nexthos_shared.exit_codes import Exit
from nexthos_shared.names import Names
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.object_format import meta_subject
from nexthos_shared.store import Store
from nexthos_testing.handing_out import handing_out
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCK: str
[BLOCK] = re.findall(r"```\n(authorization .*?)```", README, re.DOTALL)
MANY = b"# more than one chunk, and more than one part\n" * 20_000


def permissions(namespace: str) -> str:
    """The README's block, for this namespace."""
    text = BLOCK.replace("nexthos.svc.", f"{namespace}.svc.")
    text = text.replace("_INBOX.nexthos.", f"_INBOX.{namespace}.")
    return (
        text.replace("users: [", "users: [{user: anybody, password: p}, ")
        + "no_auth_user: anybody\n"
    )


@asynccontextmanager
async def stored(server: NatsServer, namespace: str, content: bytes) -> AsyncIterator[Store]:
    async with connect(ConnectOptions(server.url), name="test", daemon=False) as link:
        store = await Store.open(link, Names(namespace), create=True)
        await store.configs.put("orders", "1", content)
        await store.configs.put("secrets", "1", b"# theirs\n")
        async with handing_out(ConnectOptions(server.url), namespace):
            yield store


def as_runner(server: NatsServer) -> str:
    return server.url.replace("nats://", "nats://runner-orders:change-me@")


@pytest.fixture
async def server(namespace: str, tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with NatsServer(tmp_path / "nats", config=permissions(namespace)) as server:
        yield server


def test_the_readme_grants_one_subject_and_one_inbox():
    assert re.findall(r"publish: \[(.*)\]", BLOCK) == ['"nexthos.svc.config.orders"']
    assert re.findall(r"subscribe: \[(.*)\]", BLOCK) == ['"_INBOX.nexthos.orders.>"']


@pytest.mark.fault(68)
async def test_one_subject_and_an_inbox_are_enough_for_any_size(alone, server, namespace, tick):
    alone.namespace = namespace
    async with stored(server, namespace, MANY + tick):
        run = await alone.start(NATS_URL=server.url, NEXTHOS_STORE_URL=as_runner(server))
        await run.engine()
        assert alone.config.read_bytes() == MANY + tick


@pytest.mark.fault(68)
async def test_another_pipelines_configuration_is_refused(alone, server, namespace, tick):
    alone.namespace = namespace
    async with stored(server, namespace, tick):
        run = await alone.start(NEXTHOS_STORE_URL=as_runner(server), NEXTHOS_PIPELINE="secrets")
        assert await run.ended() == Exit.REFUSED, run.text()
        [error] = run.errors()
        # It listens where another pipeline's answers come, or asks for what is not its own.
        assert "_INBOX." in error or ".svc.config.secrets" in error
        assert "change-me" not in error


class Attacker:
    """The runner's user at a plain socket: it may say anything, as no client library lets it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def says(self, *lines: str) -> str:
        """Everything that came until the server had read all of it."""
        self._writer.write("".join(f"{line}\r\n" for line in (*lines, "PING")).encode())
        heard = b""
        async with asyncio.timeout(10.0):
            while not heard.endswith(b"PONG\r\n"):
                heard += await self._reader.readline()
        return heard.decode()

    async def publishes(self, subject: str, payload: str, reply: str) -> str:
        return await self.says(f"PUB {subject} {reply} {len(payload)}\r\n{payload}")


@asynccontextmanager
async def attacker(server: NatsServer) -> AsyncIterator[Attacker]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    await reader.readline()
    user = {"user": "runner-orders", "pass": "change-me", "headers": True, "verbose": False}
    there = Attacker(reader, writer)
    try:
        await there.says(f"CONNECT {json.dumps(user)}")
        yield there
    finally:
        writer.close()


async def streams_of(store: Store) -> dict[str, int]:
    """Every stream of the account with the last sequence that it gave."""
    return {
        str(info.config.name): info.state.last_seq for info in await store.link.js.streams_info()
    }


@pytest.mark.fault(68)
async def test_no_other_subject_is_taken_by_nats_whatever_wildcards_it_spells(
    server, namespace, tick
):
    names = Names(namespace)
    stream, bucket = f"OBJ_{names.configs}", names.configs
    get = f"$JS.API.DIRECT.GET.{stream}"
    async with stored(server, namespace, tick) as store, attacker(server) as hostile:
        theirs = await store.configs.info("secrets", "1")
        assert theirs is not None
        before = await streams_of(store)
        for subject in (
            f"{namespace}.svc.config",
            f"{namespace}.svc.config.secrets",
            f"{namespace}.svc.config.*",
            f"{namespace}.svc.config.>",
            f"{namespace}.svc.config.orders.>",
            f"{namespace}.svc.config.orders.secrets",
            f"{namespace}.svc.*.orders",
            f"{namespace}.svc.status",
            f"{namespace}.svc.reconcile",
            f"{get}.{meta_subject(bucket, 'orders/1')}",
            f"{get}.{meta_subject(bucket, 'secrets/1')}",
            f"{get}.$O.{bucket}.C.{theirs.nuid}",
            f"{get}.$O.{bucket}.C.*",
            f"{get}.$O.{bucket}.C.>",
            f"{get}.$O.{bucket}.>",
            get,
            f"$JS.API.STREAM.MSG.GET.{stream}",
            f"$JS.API.STREAM.INFO.{stream}",
            f"$JS.API.STREAM.PURGE.{stream}",
            f"$JS.API.STREAM.DELETE.{stream}",
            f"$JS.API.CONSUMER.CREATE.{stream}",
            "$JS.API.INFO",
            f"$KV.{names.status}.orders",
            f"$KV.{names.pipelines}.orders",
            f"$O.{bucket}.C.{theirs.nuid}",
            meta_subject(bucket, "orders/1"),
            f"$SRV.INFO.{namespace}",
            f"_INBOX.{namespace}.orders.1",
        ):
            heard = await hostile.publishes(subject, "{}", f"_INBOX.{namespace}.orders.1")
            assert "-ERR 'Permissions Violation for Publish" in heard, subject
        for subject in (
            f"_INBOX.{namespace}.secrets.>",
            "_INBOX.>",
            ">",
            f"{namespace}.>",
            "_INBOX_*.>",
        ):
            assert "-ERR 'Permissions Violation for Sub" in await hostile.says(f"SUB {subject} 7")
        assert await streams_of(store) == before


@pytest.mark.fault(68)
async def test_a_reply_that_is_no_inbox_gets_no_bytes_and_no_stream_changes(
    server, namespace, tick
):
    names = Names(namespace)
    foreign = [
        f"$KV.{names.pipelines}.other",
        f"$KV.{names.control}.lease",
        f"$KV.{names.control}.installation",
        f"$O.{names.configs}.C.abc",
        meta_subject(names.configs, "secrets/1"),
        f"$JS.API.STREAM.PURGE.OBJ_{names.configs}",
        f"$JS.API.STREAM.DELETE.KV_{names.pipelines}",
        "$JS.API.INFO",
        f"{namespace}.svc.config.secrets",
        f"{namespace}.svc.reconcile",
        f"{namespace}.events.orders.Ready",
        f"$SRV.PING.{namespace}",
        "orders.in",
        "_INBOXES.x",
    ]
    payload = json.dumps({"version": "1"})
    broken = json.dumps({"version": "nowhere"})
    async with stored(server, namespace, tick) as store, attacker(server) as hostile:
        before = await streams_of(store)
        nc = await nats.connect(server.url)
        heard: list[str] = []

        async def note(message: nats.aio.msg.Msg) -> None:
            if message.subject in foreign:
                heard.append(message.subject)

        await nc.subscribe(">", cb=note)
        for reply in foreign:
            for said in (payload, broken, "[", ""):
                await hostile.publishes(f"{namespace}.svc.config.orders", said, reply)
        # Its own request comes after those, and is answered after them.
        await hostile.says(f"SUB _INBOX.{namespace}.orders.> 1")
        answer = f"_INBOX.{namespace}.orders.end"
        await hostile.publishes(f"{namespace}.svc.config.orders", payload, answer)

        async def answered() -> bool:
            return "generate" in await hostile.says()

        await eventually(answered)
        await nc.flush()
        assert heard == []
        assert await streams_of(store) == before
        await nc.close()
