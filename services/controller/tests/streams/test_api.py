"""What a host says over HTTP, and what is made of it: both shapes of errors, silence, strangers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from nexthos_controller.executors.streams.api import Api, Exists, NotOurs, Silent, StreamRefused


@asynccontextmanager
async def host(answer: Callable[[str], tuple[int, str] | None]) -> AsyncIterator[Api]:
    """Something that answers like a host; None: it hangs."""
    writers = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = head.lower().partition("content-length: ")[2].partition("\r")[0]
                await reader.readexactly(int(length or 0))
                said = (200, "pong") if "/ping" in head else answer(head.split(" HTTP")[0])
                if said is None:
                    await reader.read()
                    return
                status, text = said
                head = f"HTTP/1.1 {status} x\r\nContent-Length: {len(text)}\r\n\r\n"
                writer.write((head + text).encode())
        except (EOFError, OSError):
            return

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    api = Api(server.sockets[0].getsockname()[1], "/x1", "password")
    try:
        yield api
    finally:
        await api.close()
        for writer in writers:
            writer.close()
        server.close()


@pytest.mark.parametrize(
    ("status", "text", "messages", "broken"),
    [
        (400, '{"lint_errors":["(1,1) a","(2,2) b"]}', ["(1,1) a", "(2,2) b"], False),
        (400, '{"linting_errors":["(1,1) a"]}', ["(1,1) a"], False),
        (400, "Error: (1,1) unable to infer\n", ["(1,1) unable to infer"], False),
        (502, "Error: failed to init\n", ["failed to init"], True),
        (400, '{"other": 1}', ['{"other": 1}'], False),
        (400, "[1]", ["[1]"], False),
        (500, "", [""], True),
    ],
)
async def test_a_refusal_has_two_shapes(status, text, messages, broken):
    async with host(lambda _: (status, text)) as api:
        with pytest.raises(StreamRefused) as raised:
            await api.create("a", b"{}")
        assert (raised.value.messages, raised.value.broken) == (messages, broken)


async def test_a_stream_that_is_there_is_told():
    async with host(lambda _: (400, "Stream already exists\n")) as api:
        with pytest.raises(Exists):
            await api.create("a", b"{}")


async def test_a_call_without_an_answer_has_a_limit():
    async with host(lambda _: None) as api:
        with pytest.raises(Silent):
            await api.delete("a", 0.05)
        with pytest.raises(Silent):
            await asyncio.wait_for(api._call("GET", "/streams", None, 0.05), 5)


@pytest.mark.parametrize("text", ["[]", "nonsense", '{"a": 1}', '{"a": {}}'])
async def test_nonsense_is_no_answer(text):
    async with host(lambda _: (200, text)) as api:
        with pytest.raises(Silent):
            await api.streams()


async def test_who_is_not_ours_is_told():
    async def strange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(strange, "127.0.0.1", 0)
    with pytest.raises(NotOurs):
        await Api(server.sockets[0].getsockname()[1], "/x1", "password").ping()
    server.close()
    with pytest.raises(Silent):
        await Api(1, "/x1", "password").ping()


async def test_what_is_not_connected_is_told_for_all_at_once():
    async with host(lambda _: (503, "streams a, b-0 are not connected\n")) as api:
        assert await api.unconnected() == frozenset({"a", "b-0"})
    async with host(lambda _: (200, "OK")) as api:
        assert await api.unconnected() == frozenset()
    async with host(lambda _: (503, '{"statuses": []}')) as api:
        assert await api.unconnected() is None


async def test_a_connection_that_was_idle_for_too_long_is_no_silence():
    async with host(lambda _: (200, "{}")) as api:
        assert await api.streams() == {}
        await api._idle[0].close()
        assert await api.streams() == {}
