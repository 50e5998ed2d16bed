"""The controller's own HTTP, as Prometheus and probes speak it, and what strangers send it."""

from __future__ import annotations

import asyncio
import re
import resource
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import closing

import pytest
from prometheus_client import CollectorRegistry

from nexthos_controller import http
from nexthos_controller.http import Answer, Request, Route, serve_http
from nexthos_shared.errors import SettingsError
from nexthos_testing.wait import eventually


async def echo(request: Request) -> Answer:
    return Answer(f"{request.parts['word']} of {request.host}".encode())


async def broken(_: Request) -> Answer:
    raise ZeroDivisionError


async def for_ever(_: Request) -> Answer:
    await asyncio.Event().wait()
    raise AssertionError


ROUTES = [
    Route(re.compile("/echo/(?P<word>[^/]+)"), echo),
    Route(re.compile("/broken"), broken),
    Route(re.compile("/for-ever"), for_ever),
]


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with serve_http("127.0.0.1:0", CollectorRegistry(), lambda: False, ROUTES) as url:
        yield int(url.rpartition(":")[2])


async def said(port: int, raw: str) -> str:
    """All that is said to what is sent as it is."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(raw.replace("\n", "\r\n").encode())
        async with asyncio.timeout(10.0):
            return (await reader.read()).decode()
    finally:
        writer.close()
        await writer.wait_closed()


async def exchange(port: int, raw: str) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of the answer."""
    head, _, body = (await said(port, raw)).partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, body


async def get(port: int, path: str) -> tuple[int, dict[str, str], str]:
    return await exchange(port, f"GET {path} HTTP/1.1\nHost: a:1\n\n")


async def test_probes_are_told_how_it_is(port: int) -> None:
    assert (await get(port, "/livez"))[::2] == (200, "ok\n")
    assert (await get(port, "/readyz"))[::2] == (503, "not ready\n")
    status, headers, _ = await get(port, "/metrics")
    assert (status, headers["Content-Type"].split(";")[0]) == (200, "text/plain")


async def test_a_route_is_given_parts_of_the_path_and_the_host_that_was_called(port: int) -> None:
    assert (await get(port, "/echo/hi"))[::2] == (200, "hi of a:1")
    nobody = await exchange(port, "GET /echo/hi HTTP/1.0\n\n")
    assert nobody[::2] == (200, f"hi of 127.0.0.1:{port}")


async def test_head_is_answered_without_the_body(port: int) -> None:
    status, headers, body = await exchange(port, "HEAD /livez HTTP/1.1\nHost: a\n\n")
    assert (status, headers["Content-Length"], body) == (200, "3", "")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/livez?full=1", 200),
        ("/echo/a%20b", 200),
        ("/livez/", 404),
        ("/echo/a%2Fb", 404),
        ("/x/livez", 404),
        ("/", 404),
    ],
)
async def test_paths_match_as_a_whole_and_queries_are_none_of_them(
    port: int, path: str, status: int
) -> None:
    assert (await get(port, path))[0] == status


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        ("POST /livez HTTP/1.1\nHost: a\nContent-Length: 3\n\nabc", 405),
        (f"GET /{'a' * 70_000} HTTP/1.1\nHost: a\n\n", 414),
        (f"GET /livez HTTP/1.1\nHost: {'a' * 70_000}\n\n", 431),
    ],
    ids=range(3),
)
async def test_what_it_does_not_speak_is_refused_and_ends_nothing(
    port: int, raw: str, status: int
) -> None:
    assert (await exchange(port, raw))[0] == status
    assert (await get(port, "/livez"))[0] == 200


@pytest.mark.parametrize("raw", ["GET /livez HTTP/9.9.9\n\n", "hello there you\n\n"], ids=range(2))
async def test_what_is_no_http_is_told_so_and_ends_nothing(port: int, raw: str) -> None:
    assert "Error code: 400" in await said(port, raw)
    assert (await get(port, "/livez"))[0] == 200


async def test_a_defect_is_told_as_one_and_ends_nothing(port: int) -> None:
    assert (await get(port, "/broken"))[0] == 500
    assert (await get(port, "/livez"))[0] == 200


async def test_an_answer_that_takes_too_long_is_given_up(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "ANSWER_WITHIN", 0.05)
    assert (await get(port, "/for-ever"))[::2] == (503, "no answer in time\n")


async def test_a_connection_on_which_nothing_is_asked_is_closed(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http._Handler, "timeout", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /livez")
    async with asyncio.timeout(5.0):
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_an_answer_that_nobody_takes_is_given_up(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async def large(_: Request) -> Answer:
        return Answer(bytes(50_000_000))  # more than a system keeps for a reader

    monkeypatch.setattr(http._Handler, "timeout", 0.1)
    routes = [Route(re.compile("/large"), large)]
    async with serve_http("127.0.0.1:0", CollectorRegistry(), lambda: True, routes) as url:
        port = int(url.rpartition(":")[2])
        before = threading.active_count()
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"\r\n")
        await eventually(lambda: threading.active_count() <= before)
        writer.close()
        assert (await get(port, "/livez"))[0] == 200
    assert capfd.readouterr().err == ""


async def test_others_are_answered_while_one_waits_and_an_end_waits_for_nobody() -> None:
    async with asyncio.timeout(5.0):
        async with serve_http("127.0.0.1:0", CollectorRegistry(), lambda: True, ROUTES) as url:
            port = int(url.rpartition(":")[2])
            asking = asyncio.create_task(get(port, "/for-ever"))
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            assert (await get(port, "/readyz"))[0] == 200
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", port)
        asking.cancel()
        writer.close()
        await asyncio.gather(asking, return_exceptions=True)


async def test_while_no_file_can_be_opened_connections_wait_and_nothing_spins(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[None] = []
    take = http._Server.handle_request

    def noted(self: http._Server) -> None:
        calls.append(None)
        take(self)

    monkeypatch.setattr(http._Server, "handle_request", noted)
    monkeypatch.setattr(http, "TRY_AGAIN", 0.2)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with closing(socket.socket()) as client:
        client.setblocking(False)
        resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, limits[1]))
        try:
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, ("127.0.0.1", port))
            await loop.sock_sendall(client, b"GET /livez HTTP/1.0\r\n\r\n")
            await eventually(lambda: len(calls) >= 2)
            assert len(calls) < 5
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        async with asyncio.timeout(5.0):
            assert (await loop.sock_recv(client, 100)).startswith(b"HTTP/1.0 200 OK")


@pytest.mark.parametrize("address", ["127.0.0.1:x", "127.0.0.1:70000", "", "nowhere.invalid:0"])
async def test_an_address_that_can_not_be_had_is_a_setting_to_correct(address: str) -> None:
    with pytest.raises(SettingsError, match="NEXTHOS_HTTP"):
        async with serve_http(address, CollectorRegistry(), lambda: True):
            pass


async def test_a_port_that_is_taken_is_told(port: int) -> None:
    with pytest.raises(SettingsError, match="choose another address"):
        async with serve_http(f"127.0.0.1:{port}", CollectorRegistry(), lambda: True):
            pass


async def test_an_address_of_the_sixth_version_is_one() -> None:
    async with serve_http("[::1]:0", CollectorRegistry(), lambda: True) as url:
        assert url.startswith("http://[::1]:")
