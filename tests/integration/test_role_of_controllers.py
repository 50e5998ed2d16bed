"""The rights that are printed for a controller: all that it needs, and nothing that destroys."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import replace
from pathlib import Path

import nats
import nkeys  # type: ignore[import-untyped]
import pytest

from nexthos_shared.errors import NotPermitted
from nexthos_shared.names import Names
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.object_format import meta_subject
from nexthos_shared.store import Store
from nexthos_testing.controller import controller_process
from nexthos_testing.field import field_of
from nexthos_testing.nats import NatsServer
from nexthos_testing.roles import (
    CONTROLLERS_OWN,
    PASSWORD,
    connected,
    forbidden,
    pasted,
    printed,
    set_up,
)
from nexthos_testing.wait import eventually


async def test_a_controller_makes_its_store_and_runs_pipelines_with_the_rights_that_are_printed(
    namespace: str, tmp_path: Path
) -> None:
    config = pasted(namespace, ("controller",))
    state = tmp_path / "state"
    async with (
        NatsServer(tmp_path / "nats", config=config) as server,
        controller_process(
            server.url,
            namespace,
            state,
            NATS_USER=f"{namespace}-controller",
            NATS_PASSWORD=PASSWORD,
        ) as controller,
        field_of(server.url, namespace) as field,
    ):
        await field.echo("orders")
        await field.put("orders")
        await field.reaches("orders", "Running")
        assert await field.says("orders") == "v1 hello"

        async def is_told() -> bool:
            told = await field.request("status", id="orders")
            return bool(told["status"]["phase"] == "Running")

        await eventually(is_told)  # the controller's own copy is written when NATS has confirmed it
        await field.delete("orders")
        await eventually(lambda: field.is_silent("orders"))
        assert not [line for line in controller.log() if line["event"] == "NATS refuses a subject"]


async def test_where_jetstream_has_a_domain_and_the_user_an_inbox_of_its_own_the_list_says_so(
    namespace: str, tmp_path: Path
) -> None:
    names = Names(namespace)
    refused: list[str] = []
    more = ("--api", "$JS.hub.API", "--inbox", "_INBOX_mine")
    config = pasted(namespace, ("controller", *more))
    options = ConnectOptions(
        user=f"{namespace}-controller",
        password=PASSWORD,
        jetstream_domain="hub",
        inbox_prefix="_INBOX_mine",
    )
    async with NatsServer(tmp_path / "n", config=config, jetstream="domain: hub") as server:
        options = replace(options, url=server.url)
        async with connect(options, name="controller", daemon=False) as link:
            link.refusals.add(refused.append)
            store = await Store.open(link, names, create=True)
            await store.installation()
            for number in range(2000):  # enough for the server to ask how far we are
                await link.nc.publish(f"$KV.{names.status}.k{number}", b"x" * 1000)
            await store.statuses.put("last", b"1")
            assert len(await store.statuses.snapshot()) == 2001
            assert await store.configs.list() == []
            assert await store.events.last("k1", 1) == []
        assert refused == []
        assert server.refusals() == []


async def test_a_user_may_have_a_key_for_a_password(namespace: str, tmp_path: Path) -> None:
    seed = nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER)
    public = nkeys.from_seed(bytearray(seed)).public_key.decode()
    file = tmp_path / "controller.nk"
    file.write_bytes(seed)
    user = printed(namespace, "controller", "--nkey", public)
    config = f"authorization {{ users: [{user}] }}"
    async with NatsServer(tmp_path / "n", config=config) as server:
        options = ConnectOptions(server.url, nkey=file)
        async with connect(options, name="controller", daemon=False) as link:
            store = await Store.open(link, Names(namespace), create=True)
            with pytest.raises(NotPermitted):
                await store.pipelines.put("one", b"{}")


@pytest.mark.fault(98)
async def test_a_controllers_user_can_neither_destroy_nor_redefine_anything(
    namespace: str, tmp_path: Path
) -> None:
    names = Names(namespace)
    config = pasted(namespace, ("controller",))
    async with (
        NatsServer(tmp_path / "nats", config=config) as server,
        field_of(server.url, namespace) as field,
    ):
        await set_up(field)
        async with connected(server, f"{namespace}-controller") as user:
            for subject in [
                *forbidden(namespace),
                meta_subject(names.configs, "one/1"),
                f"$O.{names.configs}.C.x",
                f"$KV.{names.control}.other",
                f"{namespace}.svc.status",
            ]:
                assert await user.is_refused(subject), subject
            for key in CONTROLLERS_OWN:
                assert not await user.is_refused(f"$KV.{namespace}-{key}"), key
            for subject in (
                ">",
                "$KV.>",
                "$JS.>",
                "$SYS.>",
                "other.svc.>",
                f"{namespace}.events.>",
            ):
                assert await user.may_not_hear(subject), subject
        # Where the stream is there already, the one right over streams that it has changes nothing.
        before = await field.js.stream_info(f"KV_{names.pipelines}")
        async with connected(server, f"{namespace}-controller") as user:
            body = {"name": f"KV_{names.pipelines}", "subjects": ["x"], "max_msgs": 1}
            answer = await user.nc.request(
                f"$JS.API.STREAM.CREATE.KV_{names.pipelines}", json.dumps(body).encode()
            )
            assert "error" in json.loads(answer.data)
        assert (await field.js.stream_info(f"KV_{names.pipelines}")).config == before.config


@pytest.mark.fault(97)
@pytest.mark.parametrize(
    "reply",
    [
        "$JS.API.STREAM.DELETE.KV_{ns}-pipelines",
        "$JS.API.STREAM.PURGE.KV_{ns}-pipelines",
        "$KV.{ns}-pipelines.other",
        "$O.{ns}-configs.M.x",
        "$JS.API.INFO",
        "{ns}.svc.reconcile",
        "$SYS.REQ.SERVER.PING",
        "anything",
    ],
)
async def test_whatever_a_controller_is_made_to_answer_to_nats_refuses_what_is_no_inbox(
    namespace: str, tmp_path: Path, reply: str
) -> None:
    """Even by a controller that would answer anything: here its user answers as it is told."""
    config = pasted(namespace, ("controller",), ("viewer",))
    async with (
        NatsServer(tmp_path / "nats", config=config) as server,
        field_of(server.url, namespace) as field,
    ):
        await set_up(field)
        before = (await field.js.stream_info(f"KV_{namespace}-pipelines")).state
        async with (
            connected(server, f"{namespace}-controller") as controller,
            connected(server, f"{namespace}-viewer") as viewer,
        ):
            asked: asyncio.Queue[str] = asyncio.Queue()

            async def answer(message: nats.aio.msg.Msg) -> None:
                await asked.put(message.reply)

            await controller.nc.subscribe(f"{namespace}.svc.>", cb=answer)
            await controller.nc.flush()
            await (
                controller.nc.flush()
            )  # nats-py's first PING goes before what it still has to send
            await viewer.nc.publish(f"{namespace}.svc.logs", b"", reply=reply.format(ns=namespace))
            async with asyncio.timeout(30):
                told = await asked.get()
            assert await controller.is_refused(told)
        assert (await field.js.stream_info(f"KV_{namespace}-pipelines")).state == before
