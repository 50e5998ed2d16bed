"""Ask an engine over HTTP whether it is ours, whether it is connected, and what it counts.

Comes in: the engine's base URL and the password of its HTTP (`overlay`). Goes out: one of four
words, or the text of /metrics. Must not know how the engine was started.

A failed bind is only logged by the engine, which then runs on: whoever answers on that port may be
somebody else. `/ping` answers 401 without the password and 200 `pong` with it in our engine alone, from
its start to its end; `/ready` can't tell (404 once the stream ended in bento, 503 in benthos). Asking that
once per connection is enough: a connection never changes its other end. Whoever took the port before our
engine could is told the password of an engine that nobody can reach.

A connection kept alive costs a third of new ones: 1,000 engines every 5 s take 2.1 % of a core.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

from nexthos_shared.engine.launch import HTTP_USER

Ready = Literal["ready", "not-ready", "not-ours", "down"]

MAX_HEAD = 16 * 1024  # bytes of status line and headers
MAX_DETAIL = 1000  # bytes
MAX_NUMBER = 16  # digits of a length
MAX_TRAILERS = 100
MAX_BODY = 64 * 1024 * 1024  # bytes; 500 streams make about 1 MB of metrics


class Readiness:
    """One engine's readiness, over one connection that is kept: `await probe.look()`, as often as due.

    Not for concurrent use. `async with` or `close()` gives the connection back. `detail` is what the
    engine said of the last look, for people: "input not connected", or JSON from benthos.
    """

    def __init__(self, endpoint: str, password: str, *, timeout: float = 1.0) -> None:
        url = urlsplit(endpoint)
        self._host = url.hostname or "127.0.0.1"
        self._port = url.port or 80
        self._headers = authorization(HTTP_USER, password)
        self._timeout = timeout
        self.detail = ""
        self._connection: Connection | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def connected(self) -> bool:
        """Whether the next look needs no new connection, as far as is known."""
        return self._connection is not None

    async def close(self) -> None:
        """Drop the connection; a later look opens a new one."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()

    async def look(self) -> Ready:
        """Look once: an answer within the time limit, never an exception.

        `ready`: every input and output is connected now. `not-ready`: it is ours and is not, or its
        stream has ended. `not-ours`: somebody else answers there. `down`: nobody answers in time.
        """
        kept = self._connection is not None
        answer = await self._try_look()
        if answer == "down" and kept:  # the connection may merely have been idle for too long
            answer = await self._try_look()
        return answer

    async def metrics(self) -> str:
        """The text of /metrics over the same connection, of an engine that was found to be ours; else ""."""
        if self._connection is None or self._connection.ended:
            return ""
        try:
            async with asyncio.timeout(self._timeout):
                status, body = await self._connection.get("/metrics", self._headers)
        except (OSError, TimeoutError, EOFError, ValueError, asyncio.LimitOverrunError):
            await self.close()
            return ""
        except BaseException:
            await self.close()
            raise
        return body.decode("utf-8", "replace") if status == 200 else ""

    async def _try_look(self) -> Ready:
        self.detail = ""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._look()
        except (OSError, TimeoutError, EOFError, ValueError, asyncio.LimitOverrunError):
            await self.close()
            return "down"
        except BaseException:
            await self.close()  # half an answer may be under way on it
            raise

    async def _look(self) -> Ready:
        if self._connection is None or self._connection.ended:
            await self.close()
            self._connection = await Connection.open(self._host, self._port)
            if not await self._is_ours(self._connection):
                await self.close()
                return "not-ours"
        status, body = await self._connection.get("/ready", self._headers)
        self.detail = body[:MAX_DETAIL].decode("utf-8", "replace").strip()
        return "ready" if status == 200 else "not-ready"

    async def _is_ours(self, connection: Connection) -> bool:
        status, _ = await connection.get("/ping")  # another engine would answer 200 in any case
        return status == 401 and await connection.get("/ping", self._headers) == (200, b"pong")


async def is_ready(endpoint: str, password: str, *, timeout: float = 1.0) -> Ready:
    """One look over a connection of its own."""
    async with Readiness(endpoint, password, timeout=timeout) as probe:
        return await probe.look()


async def scrape(endpoint: str, password: str, *, timeout: float = 5.0) -> str:
    """Return the text of /metrics; "" if there is none, no answer in time, or it is not ours."""
    url = urlsplit(endpoint)
    try:
        async with asyncio.timeout(timeout):
            connection = await Connection.open(url.hostname or "127.0.0.1", url.port or 80)
            try:
                status, body = await connection.get("/metrics", authorization(HTTP_USER, password))
            finally:
                await connection.close()
    except (OSError, TimeoutError, EOFError, ValueError, asyncio.LimitOverrunError):
        return ""
    return body.decode("utf-8", "replace") if status == 200 else ""


def authorization(user: str, password: str) -> str:
    """The header line of a request that a password must open."""
    return f"Authorization: Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}\r\n"


class Connection:
    """HTTP/1.1 requests, one after the other, over one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._host = ""
        self.ended = False

    @classmethod
    async def open(cls, host: str, port: int) -> Connection:
        """Raises OSError."""
        connection = cls(*await asyncio.open_connection(host, port, limit=MAX_HEAD))
        connection._host = f"{host}:{port}"
        return connection

    @property
    def hung_up(self) -> bool:
        """Whether its other end has closed it."""
        return self._reader.at_eof()

    async def close(self) -> None:
        """Give it back, whatever is under way on it."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def get(self, path: str, headers: str = "") -> tuple[int, bytes]:
        """Status and body. ValueError for what is no HTTP, EOFError if it ends too early."""
        return await self.request("GET", path, headers=headers)

    async def request(
        self, method: str, path: str, body: bytes | None = None, headers: str = ""
    ) -> tuple[int, bytes]:
        """The same with another method, a body, and whole header lines."""
        if body is not None:
            headers += f"Content-Length: {len(body)}\r\n"
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nAccept-Encoding: identity\r\n"
        self._writer.write(f"{head}{headers}\r\n".encode("ascii") + (body or b""))
        return await self._answer()

    async def _answer(self) -> tuple[int, bytes]:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip().split("\r\n")
        if not re.match(r"HTTP/1\.\d \d{3}\b", first):
            raise ValueError("not HTTP")
        headers = {
            name.strip().lower(): value.strip().lower()
            for name, _, value in (line.partition(":") for line in lines)
        }
        self.ended = headers.get("connection") == "close"
        return int(first.split()[1]), await self._body(headers)

    async def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            return await self._chunks()
        if "content-length" in headers:
            return await self._exactly(int(headers["content-length"][:MAX_NUMBER]))
        self.ended = True  # a body without a length lasts until the end of the connection
        return await self._reader.read(MAX_HEAD)

    async def _chunks(self) -> bytes:
        body = bytearray()
        while size := int((await self._reader.readuntil(b"\r\n"))[:MAX_NUMBER], 16):
            body += await self._exactly(size, already=len(body))
            await self._reader.readexactly(2)
        for _ in range(MAX_TRAILERS):
            if await self._reader.readuntil(b"\r\n") == b"\r\n":
                return bytes(body)
        raise ValueError("too many trailers")

    async def _exactly(self, size: int, already: int = 0) -> bytes:
        if not 0 <= size <= MAX_BODY - already:
            raise ValueError("body too large")
        return await self._reader.readexactly(size)
