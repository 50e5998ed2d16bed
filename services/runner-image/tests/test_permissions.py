# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, no-warn-unreachable
"""A runner may read its own configuration, and that is all: nothing is written, nothing else is read.

The permissions are those that the README tells an operator to write.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest

from nexthos_shared.exits import Exit
from nexthos_shared.names import Names
from nexthos_shared.nats_client import ConnectOptions, connect
from nexthos_shared.objects import meta_subject
from nexthos_shared.stores import Store
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCK: str
[BLOCK] = re.findall(r"```\n(authorization .*?)```", README, re.DOTALL)
META = base64.urlsafe_b64encode(b"orders/1").decode()
MANY = b"# more than one chunk\n" * 20_000


def permissions(namespace: str, more: str = "") -> str:
    """The README's block, for this namespace; `more` may be published besides."""
    text = BLOCK.replace("nexthos-configs", f"{namespace}-configs")
    text = text.replace("_INBOX.nexthos.", f"_INBOX.{namespace}.")
    assert META in text
    if more:
        text = text.replace("publish: [", f'publish: ["{more}", ')
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
        yield store


def as_runner(server: NatsServer) -> str:
    return server.url.replace("nats://", "nats://runner-orders:change-me@")


@pytest.fixture
async def server(namespace: str, tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with NatsServer(tmp_path / "nats", config=permissions(namespace)) as server:
        yield server


@pytest.mark.fault(68)
async def test_two_subjects_and_an_inbox_are_enough(alone, server, namespace, tick):
    alone.namespace = namespace
    async with stored(server, namespace, tick):
        run = await alone.start(NATS_URL=server.url, NEXTHOS_STORE_URL=as_runner(server))
        await run.engine()


@pytest.mark.fault(68)
async def test_another_pipelines_configuration_is_refused(alone, server, namespace, tick):
    alone.namespace = namespace
    async with stored(server, namespace, tick):
        for other in ({"NEXTHOS_PIPELINE": "secrets"}, {"NEXTHOS_VERSION": "2"}):
            run = await alone.start(NEXTHOS_STORE_URL=as_runner(server), **other)
            assert await run.ended() == Exit.REFUSED, run.text()
            [error] = run.errors()
            # It listens where another pipeline's answers come, or asks for what is not its own.
            assert "_INBOX." in error or "$JS.API.DIRECT.GET" in error
            assert "change-me" not in error


@pytest.mark.fault(68)
async def test_whatever_else_that_user_tries_is_refused(server, namespace, tick):
    names = Names(namespace)
    stream, bucket = f"OBJ_{names.configs}", names.configs
    async with stored(server, namespace, tick):
        refused: list[str] = []

        async def heard(error: Exception) -> None:
            refused.append(str(error))

        async def told(words: str) -> None:
            await eventually(lambda: words in " ".join(refused))

        nc = await nats.connect(
            as_runner(server), inbox_prefix=f"_INBOX.{namespace}.orders", error_cb=heard
        )
        own = await nc.request(
            f"$JS.API.DIRECT.GET.{stream}.{meta_subject(bucket, 'orders/1')}", b""
        )
        assert json.loads(own.data)["name"] == "orders/1"
        consumer = json.dumps(
            {"stream_name": stream, "config": {"deliver_subject": "x.y"}}
        ).encode()
        tries = {
            f"$JS.API.DIRECT.GET.{stream}.{meta_subject(bucket, 'secrets/1')}": b"",
            f"$JS.API.DIRECT.GET.{stream}": b'{"seq": 1}',
            f"$JS.API.STREAM.MSG.GET.{stream}": b'{"seq": 1}',
            f"$JS.API.STREAM.INFO.{stream}": b"",
            f"$JS.API.CONSUMER.CREATE.{stream}": consumer,
            f"$JS.API.STREAM.PURGE.{stream}": b"",
            f"$KV.{names.status}.orders": b"{}",
            f"$KV.{names.status}.secrets": b"{}",
            f"$KV.{names.pipelines}.orders": b"{}",
            f"$JS.API.DIRECT.GET.KV_{names.pipelines}.$KV.{names.pipelines}.orders": b"",
            meta_subject(bucket, "orders/1"): b"{}",
            f"{namespace}.svc.restart": b"{}",
        }
        for subject, payload in tries.items():
            refused.clear()
            await nc.publish(subject, payload, reply=nc.new_inbox())
            await nc.flush()
            await told(f'publish to "{subject.lower()}"')
        for subject in (f"_INBOX.{namespace}.secrets.>", "_INBOX.>", ">"):
            refused.clear()
            await nc.subscribe(subject)
            await nc.flush()
            await told(f'subscription to "{subject.lower()}"')
        await nc.close()


async def test_a_configuration_of_several_chunks_asks_for_one_more_subject(
    alone, namespace, tmp_path, tick
):
    alone.namespace = namespace
    subject = f"$JS.API.DIRECT.GET.OBJ_{namespace}-configs"
    content = MANY + tick
    async with (
        NatsServer(tmp_path / "nats", config=permissions(namespace)) as server,
        stored(server, namespace, content),
    ):
        run = await alone.start(NATS_URL=server.url, NEXTHOS_STORE_URL=as_runner(server))
        assert await run.ended() == Exit.REFUSED
        assert f'"{subject}"' in run.errors()[0]
        server.config = permissions(namespace, more=subject)
        await server.restart()
        run = await alone.start(NATS_URL=server.url, NEXTHOS_STORE_URL=as_runner(server))
        await run.engine()
        assert alone.config.read_bytes() == content
