# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, no-warn-unreachable
"""What comes out of the store, and how it ends where nothing does: a code, a reason, a line."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys

import pytest

from nexthos_shared.engine import last_error
from nexthos_shared.exit_codes import Exit, reason_of
from nexthos_shared.names import Names, digest_of
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.object_format import MAX_CONFIG_BYTES
from nexthos_shared.reasons import Reason
from nexthos_shared.store import Store
from nexthos_testing.handing_out import handing_out
from nexthos_testing.nats import NatsServer, free_port

OTHER = b"input: {generate: {mapping: root = 2, interval: 10ms}}\noutput: {drop: {}}\n"


@pytest.fixture
def copying(rig):
    """An engine that only proves which bytes it would run."""
    seen = rig.tmp_path / "seen"
    program = rig.program("bento", f'#!/bin/sh\nfor last; do :; done\ncp "$last" {seen}\n')
    rig.defaults["NEXTHOS_ENGINE"] = str(program)
    return seen


async def ends(run, code):
    assert await run.ended() == code, run.text()
    [error] = run.errors()
    return error


@pytest.mark.parametrize("size", [0, 1, 128 * 1024, 128 * 1024 + 1, MAX_CONFIG_BYTES])
async def test_the_bytes_that_run_are_those_that_are_stored(rig, store, copying, size):
    content = (b"# \xc3\xa9\n" * MAX_CONFIG_BYTES)[:size]
    await store.configs.put("orders", "1", content)
    run = await rig.start(NEXTHOS_DIGEST=digest_of(content))
    assert await run.ended() == 0, run.text()
    assert copying.read_bytes() == content
    assert rig.config.read_bytes() == content
    assert run.text() == ""  # an engine's stdout may be its output


async def test_nothing_is_left_on_the_server(rig, store, copying):
    await store.configs.put("orders", "1", OTHER)
    before = await store.link.js.stream_info(store.configs.stream)
    assert await (await rig.start()).ended() == 0
    after = await store.link.js.stream_info(store.configs.stream)
    assert after.state == before.state  # consumers are part of it


@pytest.mark.fault(67)
async def test_a_configuration_that_is_not_stored_has_a_code_and_a_reason(rig, store, copying):
    run = await rig.start()
    error = await ends(run, Exit.MISSING)
    assert "orders/1" in error
    assert reason_of(66) is Reason.CONFIG_MISSING
    assert not rig.config.exists()
    assert not copying.exists()


@pytest.mark.fault(67)
async def test_other_bytes_than_the_pinned_ones_never_run(rig, store, copying, tick):
    await store.configs.put("orders", "1", OTHER)
    rig.keep(OTHER)  # not even if they are here already
    error = await ends(await rig.start(NEXTHOS_DIGEST=digest_of(tick)), Exit.CHANGED)
    assert digest_of(tick) in error
    assert digest_of(OTHER) in error
    assert not copying.exists()


@pytest.mark.fault(67)
async def test_damaged_bytes_never_run(rig, store, copying, tick):
    info = await store.configs.put("orders", "1", tick)
    chunks = f"$O.{store.configs.name}.C.{info.nuid}"
    await store.link.js.purge_stream(store.configs.stream, subject=chunks)
    await store.link.js.publish(chunks, b"x" * len(tick))
    await ends(await rig.start(), Exit.DAMAGED)
    assert not copying.exists()


async def test_an_object_that_is_too_large_is_refused(rig, store, copying):
    objects = await store.link.js.object_store(store.configs.name)
    await objects.put("orders/1", b"#" * (MAX_CONFIG_BYTES + 1))
    assert str(MAX_CONFIG_BYTES) in await ends(await rig.start(), Exit.DAMAGED)


async def test_an_object_overwritten_all_the_time_is_read_whole(rig, store, copying):
    versions = [bytes([48 + n]) * 300_000 for n in range(4)]
    await store.configs.put("orders", "1", versions[0])

    async def overwrite():
        n = 0
        while True:
            n += 1
            await store.configs.put("orders", "1", versions[n % 4])

    writer = asyncio.create_task(overwrite())
    try:
        for _ in range(10):
            run = await rig.start()
            assert await run.ended() == 0, run.text()
            assert copying.read_bytes() in versions
    finally:
        writer.cancel()


@pytest.mark.fault(67)
async def test_a_nats_that_never_comes_is_given_up_in_time_and_each_attempt_told(alone):
    run = await alone.start(NEXTHOS_FETCH_WITHIN="1")
    started = asyncio.get_running_loop().time()
    error = await ends(run, Exit.AWAY)
    assert 0.9 < asyncio.get_running_loop().time() - started < 5
    assert alone.url in error
    assert "given up after 1 s" in error
    waits = [float(words.split()[-2]) for words in run.warnings()]  # "... tried again in 0.1 s"
    assert len(waits) >= 3
    assert waits[:3] == [0.1, 0.2, 0.4]
    assert not alone.config.exists()


@pytest.mark.fault(67)
async def test_a_nats_that_comes_late_is_waited_for(alone, tick, namespace):
    alone.namespace = namespace
    port = int(alone.url.rpartition(":")[2])
    run = await alone.start(NEXTHOS_FETCH_WITHIN="30")
    await run.says("tried again")
    async with NatsServer(alone.tmp_path / "late", port=port) as server:
        await run.says("no controller answers")  # the server is there, the controller is not yet
        async with (
            connect(ConnectOptions(server.url), name="test", daemon=False) as link,
            handing_out(ConnectOptions(server.url), namespace),
        ):
            await run.says("does not exist")  # nor is the bucket
            store = await Store.open(link, Names(namespace), create=True)
            await store.configs.put("orders", "1", tick)
            await run.engine()


async def test_a_server_that_speaks_and_never_answers_is_no_endless_wait(rig, store, tick):
    async def silent(reader, writer):
        writer.write(b'INFO {"headers":true}\r\n')
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        run = await rig.start(NATS_URL=f"nats://127.0.0.1:{port}", NEXTHOS_FETCH_WITHIN="0")
        assert "no answer in time" in await ends(run, Exit.AWAY)


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 100_000, b""])
async def test_what_is_no_nats_server_is_told_from_one(rig, greeting):
    async def other(reader, writer):
        writer.write(greeting)
        writer.close()

    async with await asyncio.start_server(other, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        run = await rig.start(NATS_URL=f"nats://127.0.0.1:{port}", NEXTHOS_FETCH_WITHIN="0")
        error = await ends(run, Exit.AWAY)
        assert "not the NATS protocol" in error or "closed the connection" in error


async def test_the_second_of_several_servers_will_do(rig, store, copying, tick):
    await store.configs.put("orders", "1", tick)
    run = await rig.start(NATS_URL=f"nats://127.0.0.1:{free_port()},{rig.url}")
    assert await run.ended() == 0, run.text()


async def test_a_store_in_a_domain_is_the_controllers_business(alone, tick, namespace, tmp_path):
    alone.namespace = namespace
    async with NatsServer(tmp_path / "n", jetstream="domain: hub") as server:
        options = ConnectOptions(server.url, jetstream_domain="hub")
        async with (
            connect(options, name="test", daemon=False) as link,
            handing_out(options, namespace),
        ):
            store = await Store.open(link, Names(namespace), create=True)
            await store.configs.put("orders", "1", tick)
            run = await alone.start(NATS_URL=server.url)
            await run.engine()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_asked_to_end_while_it_waits_for_nats_it_ends_at_once(alone, number):
    run = await alone.start(NEXTHOS_FETCH_WITHIN="600")
    await run.says("tried again")
    run.signal(number)
    assert await run.ended(within=1.0) == Exit.ASKED
    assert number.name in run.text()
    assert run.errors() == []


async def test_asked_to_end_in_the_middle_of_an_answer_it_ends_at_once(rig):
    asked = asyncio.Event()

    async def slow(reader, writer):
        writer.write(b"INFO {}\r\n")
        await reader.readline()
        asked.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(slow, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        run = await rig.start(NATS_URL=f"nats://127.0.0.1:{port}", NEXTHOS_FETCH_WITHIN="600")
        await asked.wait()
        run.signal(signal.SIGTERM)
        assert await run.ended(within=1.0) == Exit.ASKED


@pytest.mark.fault(67)
async def test_the_last_error_is_found_as_if_the_engine_had_said_it(rig, store):
    run = await rig.start()
    await run.ended()
    [line] = run.lines()
    assert run.text().startswith('{"level":"error","msg":"')  # as the engine writes it
    assert list(line) == ["level", "msg", "time", "pipeline", "version", "replica"]
    assert (line["pipeline"], line["version"], line["replica"]) == ("orders", "1", "0")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line["time"])
    problem = last_error(run.text())
    assert problem is not None
    assert problem.message == line["msg"]


async def test_no_secret_is_told(rig, alone, tmp_path):
    secret = "hunter2secret"
    url = f"nats://user:{secret}@127.0.0.1:{free_port()}"
    runs = [
        await alone.start(NEXTHOS_STORE_URL=url),
        await alone.start(NEXTHOS_STORE_URL=f"http://user:{secret}@127.0.0.1:1"),
        await alone.start(NEXTHOS_STORE_URL=f"user:{secret}@127.0.0.1:none"),
        await alone.start(NEXTHOS_STORE_URL=url, NEXTHOS_ENV=json.dumps({"TOKEN": secret})),
    ]
    for run, code in zip(runs, [69, 64, 64, 69], strict=True):
        assert await run.ended() == code, run.text()
        assert run.errors()
        assert secret not in run.text()


async def test_a_line_of_the_server_cannot_make_two_of_ours(rig):
    async def odd(reader, writer):
        writer.write(b"-ERR 'a \"quoted\" \x00\n word'\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(odd, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        run = await rig.start(NATS_URL=f"nats://127.0.0.1:{port}", NEXTHOS_FETCH_WITHIN="0")
        await ends(run, Exit.AWAY)
        assert all(json.loads(line) for line in run.text().splitlines())


async def test_a_folder_that_cannot_be_made_is_told(alone):
    run = await alone.start(NEXTHOS_DIR="/dev/null/x")
    assert "/dev/null" in await ends(run, Exit.NO_FOLDER)


async def test_a_host_that_no_resolver_takes_is_away(alone):
    run = await alone.start(NEXTHOS_STORE_URL=f"nats://{'a' * 70}.b:4222")
    await ends(run, Exit.AWAY)


def test_a_defect_is_one_line_without_what_it_held():
    code = (
        "import sys; from nexthos_runner import main, settings\n"
        "def broken(environ): raise RuntimeError('hunter2secret')\n"
        "settings.read = broken; sys.argv = ['nexthos-runner']; sys.exit(main.main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == Exit.DEFECT
    [line] = done.stdout.splitlines()
    assert json.loads(line)["msg"].startswith("a defect of the runner: RuntimeError at ")
    assert "hunter2secret" not in done.stdout + done.stderr
