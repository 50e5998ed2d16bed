"""The controller's own HTTP, as Prometheus and probes speak it, and what strangers send it."""

from __future__ import annotations

import asyncio
import re
import resource
import socket
import stat
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from nexthos_controller.http import listener as doorway
from nexthos_controller.http import server as http
from nexthos_controller.http.server import Answer, Request, Route, serve_http
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
    assert (await exchange(port, raw))[0] == 400
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
    monkeypatch.setattr(http, "ASKED_WITHIN", 0.05)
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

    monkeypatch.setattr(http, "TAKEN_WITHIN", 0.1)
    routes = [Route(re.compile("/large"), large)]
    async with serve_http("127.0.0.1:0", CollectorRegistry(), lambda: True, routes) as url:
        port = int(url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"\r\n")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(50_000_000)
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
    loop = asyncio.get_running_loop()
    accept = loop.sock_accept

    async def noted(listener: socket.socket) -> Any:
        calls.append(None)
        return await accept(listener)

    monkeypatch.setattr(loop, "sock_accept", noted)
    monkeypatch.setattr(doorway, "TRY_AGAIN", 0.2)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with closing(socket.socket()) as client:
        client.setblocking(False)
        resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, limits[1]))
        try:
            await loop.sock_connect(client, ("127.0.0.1", port))
            await loop.sock_sendall(client, b"GET /livez HTTP/1.0\r\n\r\n")
            await eventually(lambda: len(calls) >= 2)
            assert len(calls) < 5
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        async with asyncio.timeout(5.0):
            assert (await loop.sock_recv(client, 100)).startswith(b"HTTP/1.1 200 OK")


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


@pytest.mark.fault(92)
async def test_hundreds_that_ask_nothing_are_bounded_and_silence_nobody(port: int) -> None:
    threads = threading.active_count()
    async with AsyncExitStack() as stack:
        for number in range(400):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            writer.write(b"GET /livez HTTP/1.1\r\nHost: a\r\n"[: number % 40])
            if number % 50 == 0:
                assert (await get(port, "/livez"))[0] == 200
        assert (await get(port, "/readyz"))[0] == 503
        assert threading.active_count() <= threads + 1  # /metrics is made in one
        here = [t for t in asyncio.all_tasks() if "Doorway._receive" in repr(t.get_coro())]
        assert len(here) <= doorway.MOST


@pytest.mark.fault(92)
async def test_hundreds_that_take_nothing_silence_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async def large(_: Request) -> Answer:
        return Answer(bytes(10_000_000))

    monkeypatch.setattr(doorway, "MOST", 10)
    monkeypatch.setattr(doorway, "PATIENCE", 0.05)
    routes = [Route(re.compile("/large"), large)]
    async with (
        serve_http("127.0.0.1:0", CollectorRegistry(), lambda: True, routes) as url,
        AsyncExitStack() as stack,
    ):
        port = int(url.rpartition(":")[2])
        for _ in range(30):
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            stack.callback(writer.close)
            writer.write(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await get(port, "/livez"))[0] == 200


async def test_those_that_are_being_answered_do_not_have_to_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    going = asyncio.Event()
    asked: list[None] = []

    async def waits(_: Request) -> Answer:
        asked.append(None)
        await going.wait()
        return Answer(b"at last")

    monkeypatch.setattr(doorway, "MOST", 4)
    routes = [Route(re.compile("/waits"), waits)]
    async with serve_http("127.0.0.1:0", CollectorRegistry(), lambda: True, routes) as url:
        port = int(url.rpartition(":")[2])
        all_of_them = [asyncio.create_task(get(port, "/waits")) for _ in range(4 * 3)]
        await eventually(lambda: len(asked) == 4)
        going.set()
        answers = await asyncio.gather(*all_of_them)
    assert [answer[::2] for answer in answers] == [(200, "at last")] * 12


async def test_what_takes_a_thread_is_answered_one_at_a_time() -> None:
    now = most = 0

    async def costly(_: Request) -> Answer:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        return Answer(b"")

    routes = [Route(re.compile("/costly"), costly, at_once=1)]
    async with serve_http("127.0.0.1:0", CollectorRegistry(), lambda: True, routes) as url:
        port = int(url.rpartition(":")[2])
        answers = await asyncio.gather(*(get(port, "/costly") for _ in range(20)))
    assert ({status for status, _, _ in answers}, most) == ({200}, 1)


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Authorization: Bearer\n",
        "Authorization: Bearer wrong\n",
        "Authorization: bearer a-token-of-ours\n",
        "Authorization: a-token-of-ours\n",
        "Authorization: Bearer a-token-of-our\xff\n",
        "Authorization: Bearer a-token-of-ours, Bearer x\n",
    ],
)
async def test_without_the_token_nobody_reads_more_than_health(authorization: str) -> None:
    token = "a-token-of-ours"
    async with serve_http("127.0.0.1:0", CollectorRegistry(), lambda: True, ROUTES, token) as url:
        port = int(url.rpartition(":")[2])
        for path in ("/metrics", "/echo/a", "/echo/%61", "//metrics", "/./metrics"):
            raw = f"GET {path} HTTP/1.1\nHost: a\n{authorization}\n"
            status, headers, _ = await exchange(port, raw)
            assert status == (401 if path in ("/metrics", "/echo/a", "/echo/%61") else 404)
            assert status == 404 or headers["WWW-Authenticate"] == "Bearer"
        for path in ("/livez", "/readyz"):
            assert (await get(port, path))[0] == 200
        raw = f"GET /metrics HTTP/1.1\nHost: a\nauthorization: Bearer {token}\n\n"
        assert (await exchange(port, raw))[0] == 200


async def test_a_socket_answers_its_own_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "http"
    async with serve_http(f"unix:{path}", CollectorRegistry(), lambda: True) as url:
        assert url == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
        writer.close()
        with pytest.raises(SettingsError, match="already in use"):
            async with serve_http(f"unix:{path}", CollectorRegistry(), lambda: True):
                pass
        assert path.exists()
    assert not path.exists()


async def test_a_socket_that_a_dead_controller_left_is_replaced_and_no_other_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "http"
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(path))
    async with serve_http(f"unix:{path}", CollectorRegistry(), lambda: True):
        pass
    path.write_text("precious")
    for address in (f"unix:{path}", "unix:relative", f"unix:{tmp_path}/no/folder"):
        with pytest.raises(SettingsError, match="NEXTHOS_HTTP"):
            async with serve_http(address, CollectorRegistry(), lambda: True):
                pass
    assert path.read_text() == "precious"
