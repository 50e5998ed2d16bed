"""Whether the engine behind a port is ours and connected, on real engines and on strangers."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from nexthos_shared.engine import Readiness, is_ready, scrape
from nexthos_testing.engine import PASSWORD, running_engine
from nexthos_testing.nats import free_port
from nexthos_testing.wait import eventually

TICK = "input: {generate: {mapping: root = 1, interval: 10ms}}\noutput: {drop: {}}\n"


def hash_of(password: str) -> str:
    return base64.b64encode(hashlib.sha256(password.encode()).digest()).decode()


@asynccontextmanager
async def stranger(answer: bytes, *, then_close: bool = True) -> AsyncIterator[str]:
    """Somebody else who answers everything with the same bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(answer)
                if then_close:
                    break
        except (OSError, EOFError):
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


async def test_a_connected_engine_is_ready(tmp_path):
    async with running_engine(TICK, tmp_path) as engine:
        await engine.until_ready()

        assert await engine.ready() == "ready"


async def test_one_that_waits_for_its_broker_is_not_ready_and_says_what_is_missing(tmp_path):
    config = 'input: {nats: {urls: ["${NATS_URL}"], subject: a}}\noutput: {drop: {}}\n'
    nowhere = {"NATS_URL": f"nats://127.0.0.1:{free_port()}"}
    async with (
        running_engine(config, tmp_path, env=nowhere) as engine,
        Readiness(engine.endpoint, PASSWORD) as probe,
    ):

        async def answer() -> str | None:
            seen = await probe.look()
            return None if seen == "down" else seen

        assert await eventually(answer, within=20.0) == "not-ready"
        assert probe.detail == "input not connected"


async def test_one_whose_stream_ended_is_ours_and_not_ready(tmp_path):
    config = (
        "input: {generate: {mapping: root = 1, interval: 50ms, count: 4}}\noutput: {drop: {}}\n"
    )
    seen = set()
    async with (
        running_engine(config, tmp_path) as engine,
        Readiness(engine.endpoint, PASSWORD) as probe,
    ):
        while engine.process.returncode is None:
            seen.add(await probe.look())
            await asyncio.sleep(0.001)

        assert "ready" in seen
        assert "not-ours" not in seen
        assert await probe.look() == "down"


async def test_another_engine_on_the_port_is_not_ours(tmp_path):
    async with running_engine(TICK, tmp_path) as engine:
        await engine.until_ready()

        assert await is_ready(engine.endpoint, "beef") == "not-ours"
        assert await is_ready(engine.endpoint, PASSWORD[1:]) == "not-ours"
        assert await scrape(engine.endpoint, "beef") == ""


async def test_an_engine_whose_port_is_taken_is_not_mistaken_for_the_other(tmp_path):
    async with running_engine(TICK, tmp_path) as first:
        await first.until_ready()
        port = int(first.endpoint.rpartition(":")[2])
        other = tmp_path / "other"
        other.mkdir()
        overrides = [f"http.basic_auth.password_hash={hash_of('beef')}"]
        async with running_engine(TICK, other, port=port, overrides=overrides) as second:
            await eventually(lambda: "address already in use" in second.log, within=20.0)

            assert second.process.returncode is None  # a failed bind is only logged
            assert await is_ready(second.endpoint, "beef") == "not-ours"
            assert await first.ready() == "ready"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npong",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK",
        b"HTTP/1.1 200 OK\r\n\r\npong?",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 503 No\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ],
)
async def test_a_stranger_that_speaks_http_is_not_ours(answer):
    async with stranger(answer) as endpoint:
        assert await is_ready(endpoint, PASSWORD) == "not-ours"


async def test_a_stranger_that_wants_another_password_is_not_ours():
    answer = b"HTTP/1.1 401 No\r\nContent-Length: 4\r\n\r\npong"
    async with stranger(answer, then_close=False) as endpoint:
        assert await is_ready(endpoint, PASSWORD) == "not-ours"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"x" * 100_000,
    ],
    ids=range(9),
)
async def test_a_stranger_that_speaks_nonsense_is_down(answer):
    async with stranger(answer) as endpoint:
        assert await is_ready(endpoint, PASSWORD) == "down"
        assert await scrape(endpoint, PASSWORD) == ""


async def test_a_stranger_that_is_silent_costs_the_time_limit_and_no_more():
    async with stranger(b"", then_close=False) as endpoint:
        assert await is_ready(endpoint, PASSWORD, timeout=0.05) == "down"


async def test_a_port_that_nobody_listens_on_is_down():
    assert await is_ready(f"http://127.0.0.1:{free_port()}", PASSWORD) == "down"


async def test_an_engine_that_comes_back_is_seen_by_the_same_probe(tmp_path):
    port = free_port()
    async with Readiness(f"http://127.0.0.1:{port}", PASSWORD) as probe:
        for life in ("one", "two"):
            folder = tmp_path / life
            folder.mkdir()
            async with running_engine(TICK, folder, port=port) as engine:
                await engine.until_ready()
                assert await probe.look() == "ready"
                await engine.stop()


async def test_metrics_of_any_size_are_read_whole(tmp_path):
    async with running_engine(TICK, tmp_path) as engine:
        await engine.until_ready()

        text = await engine.metrics()

    assert "# TYPE output_sent counter" in text
    assert text.endswith("\n")
    big = b"%x\r\n" % 300_000 + b"x" * 300_000 + b"\r\n0\r\nTrailer: y\r\n\r\n"
    async with stranger(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + big) as endpoint:
        assert await scrape(endpoint, PASSWORD) == "x" * 300_000
