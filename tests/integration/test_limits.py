"""Servers and accounts that let little through: what fits is cut to fit, what can't be is named."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nexthos_shared.errors import StoreRefused
from nexthos_shared.model import ListReply, LogsReply
from nexthos_shared.model.stored import decode
from nexthos_shared.names import Names
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.store import Store
from nexthos_testing.controller import CONTROLLER, ControllerProcess, kill_leftovers
from nexthos_testing.field import Field, field_of
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually

CONFIG = "input: {generate: {mapping: 'root = 1', interval: 1s}}\noutput: {drop: {}}\n"


@pytest.fixture(params=["64KB", "8KB"])
async def narrow(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[NatsServer]:
    """A server with a small `max_payload`."""
    async with NatsServer(tmp_path / "nats", config=f"max_payload: {request.param}") as server:
        yield server


@pytest.fixture
async def user(
    narrow: NatsServer, namespace: str, tmp_path: Path
) -> AsyncIterator[tuple[Field, Store]]:
    """Somebody there, beside a controller that acts."""
    controller = ControllerProcess(narrow.url, namespace, tmp_path / "state")
    controller.state_dir.mkdir()
    await controller.start()
    try:
        async with (
            field_of(narrow.url, namespace) as field,
            connect(ConnectOptions(narrow.url), name="test", daemon=False) as link,
        ):
            yield field, await Store.open(link, Names(namespace), create=False)
    finally:
        await controller.kill()
        kill_leftovers(controller.state_dir)


@pytest.mark.fault(141)
async def test_a_configuration_of_200_kib_is_cut_so_that_it_fits_and_runs(user):
    field, store = user
    content = CONFIG.encode() + b"# padding\n" * 20_000
    stored = await store.configs.put("large", "1", content)
    assert stored.chunks > 2
    assert await store.configs.get("large", "1") == content
    await field.put("large", version="1")
    await field.reaches("large", "Running")


@pytest.mark.fault(141)
async def test_answers_are_given_in_pages_that_fit_until_all_was_told(user):
    field, store = user
    keys = {f"p{n:03}" for n in range(150)}
    for key in keys:
        value = {"status": "draft", "name": "a title that takes room " * 5}
        await store.pipelines.put(key, json.dumps(value).encode())

    async def listed() -> set[str]:
        found, cursor = set[str](), None
        while True:
            asked = json.dumps({"limit": 1000, "cursor": cursor}).encode()
            answer = await field.nc.request(f"{field.names.service}.svc.list", asked, timeout=5)
            page = decode(ListReply, answer.data)
            found |= {line.id for line in page.pipelines}
            cursor = page.cursor
            if cursor is None:
                return found

    async def all_are_told() -> bool:
        return await listed() == keys

    await eventually(all_are_told)


@pytest.mark.fault(141)
async def test_long_lines_of_a_log_come_in_parts_that_fit(user):
    field, store = user
    words = "x" * 30_000
    config = CONFIG.replace("root = 1", f'root = "{words}"').replace("drop", "stdout")
    await store.configs.put("talks", "1", config.encode())
    await field.put("talks", version="1")
    await field.reaches("talks", "Running")

    async def read() -> bool:
        subject = f"{field.names.service}.svc.logs"
        inbox = field.nc.new_inbox()
        answers = await field.nc.subscribe(inbox)
        await field.nc.publish(subject, b'{"id": "talks", "tail": 5}', reply=inbox)
        text = ""
        while (message := await answers.next_msg(timeout=5)).data:
            lines = decode(LogsReply, message.data).lines
            text += "".join(line.text for line in lines)
        return words in text

    await eventually(read)


@pytest.mark.fault(141)
async def test_what_can_not_be_cut_is_named_with_its_size(user):
    _, store = user
    with pytest.raises(StoreRefused, match=r"has \d+ bytes.*raise `max_payload`"):
        await store.pipelines.put("wide", b" " * store.link.nc.max_payload)


# ---- accounts


def account(limits: str) -> str:
    return f"accounts {{A: {{jetstream: {{{limits}}}, users: [{{user: a, password: x}}]}}}}\nno_auth_user: a"


async def types(url: str, namespace: str, *args: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        CONTROLLER.parent / "nexthos",
        *args,
        env={"PATH": os.environ["PATH"], "NATS_URL": url, "NEXTHOS_NAMESPACE": namespace},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode is not None
    return process.returncode, said


@pytest.mark.fault(142)
async def test_setup_tells_what_an_account_refused_and_makes_the_rest_once_it_may(
    namespace, tmp_path
):
    async with NatsServer(tmp_path / "nats", config=account("max_streams: 2")) as server:
        code, said = await types(server.url, namespace, "setup", "-o", "json")
        assert code == 1
        told, _ = json.JSONDecoder().raw_decode(said[said.index("{") :])
        assert len(told["created"]) == 2
        assert len(told["refused"]) == 3
        assert "maximum number of streams" in said
        code, said = await types(server.url, namespace, "setup")
        assert code == 1
        assert said.count("exists") == 2
        assert "created" not in said
        assert "run `nexthos setup` again" in said
        server.config = account("max_streams: 10")
        server.reload()
        code, said = await types(server.url, namespace, "setup")
        assert (code, said.count("created")) == (0, 3)


@pytest.mark.fault(142)
async def test_a_store_that_was_left_half_made_is_completed_by_the_next_controller(
    namespace, tmp_path
):
    config = account("max_streams: 2")
    async with NatsServer(tmp_path / "nats", config=config) as server:
        (tmp_path / "state").mkdir()
        own = {"NATS_USER": "a", "NATS_PASSWORD": "x"}
        controller = ControllerProcess(server.url, namespace, tmp_path / "state", own)
        await controller.spawn()
        try:
            await eventually(lambda: "maximum number of streams" in str(controller.log()))
            server.config = account("max_streams: 10")
            server.reload()
            await eventually(lambda: "controller acts" in str(controller.log()), within=20.0)
        finally:
            await controller.kill()
            kill_leftovers(controller.state_dir)


@pytest.mark.fault(142)
async def test_an_account_that_requires_limits_is_told_the_option_for_them(namespace, tmp_path):
    config = account("max_file: 1GB, max_bytes: true")
    async with NatsServer(tmp_path / "nats", config=config) as server:
        code, said = await types(server.url, namespace, "setup")
        assert code == 1
        assert "nexthos setup --max-bytes 256Mi" in said
        code, said = await types(server.url, namespace, "setup", "--max-bytes", "64Mi")
        assert code == 0, said
        code, said = await types(server.url, namespace, "setup", "--max-bytes", "much")
        assert code == 2


@pytest.mark.fault(142)
async def test_more_replicas_than_servers_are_refused_with_the_servers_words(namespace, tmp_path):
    async with NatsServer(tmp_path / "nats") as server:
        code, said = await types(server.url, namespace, "setup", "--replicas", "3")
        assert code == 1
        assert "replicas" in said
        assert "created" not in said


@pytest.mark.parametrize("kind", ["pipelines", "status", "control", "configs"])
async def test_a_bucket_without_direct_gets_fails_doctor_and_setup_mends_it(
    namespace, nats_server, kind
):
    """nats-py makes buckets without them, unless it is told to."""
    async with connect(ConnectOptions(nats_server.url), name="test", daemon=False) as link:
        store = await Store.open(link, Names(namespace), create=True)
        name = getattr(store.names, kind)
        stream = f"OBJ_{name}" if kind == "configs" else f"KV_{name}"
        config = (await link.js.stream_info(stream)).config
        config.allow_direct = False
        await link.js.update_stream(config)
        code, said = await types(nats_server.url, namespace, "doctor")
        assert code == 1
        line = next(ln for ln in said.splitlines() if "settings:" in ln)
        assert line.startswith("fail")
        assert stream in line
        assert "nexthos setup" in said
        assert (await types(nats_server.url, namespace, "setup"))[0] == 0
        _, said = await types(nats_server.url, namespace, "doctor")
        assert "ok    settings" in said
