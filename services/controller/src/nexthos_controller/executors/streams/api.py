"""The REST API of one host, with a limit on every call.

Comes in: ids and bodies of streams. Goes out: what the host says, or one of three errors: `StreamRefused` (it
will not have this stream), `Silent` (no answer in time), `NotOurs` (another program has the port). Must not
know what a stream is for. Measured and read in bento v1.20.0:

- Basic authentication wraps every endpoint. The API is also registered outside `http.root_path`, so the
  random path proves whose host answers, and the password keeps other users of this machine out.
- POST answers 400 with JSON (`lint_errors`, or `linting_errors` elsewhere) or with plain text, and 502
  where a component can't be built. No stream is left then, but what was built of it runs on for ever.
- DELETE waits until the stream has drained, as long as the connection lasts. When that is closed, all
  components are told to end at once; the stream is then `active: false` until it is deleted again.
- `/ready` lists the streams that are active and not connected; that is one question for all of them.
- GET of one stream shows its configuration with all values: it is never asked for.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import re
from collections.abc import Mapping

from nexthos_shared.engine.readiness import MAX_BODY, Connection
from nexthos_shared.untrusted_json import read_json, read_object

TIMEOUT = 5.0  # seconds
CREATE_WITHIN = 20.0  # seconds; creating holds the host's one lock, and another stream may be slow
KEPT = 4  # idle connections
USER = "nexthos"
_UNCONNECTED = re.compile(r"streams (.*) are not connected\s*")
_WANTS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL)
_FAILURES = (OSError, TimeoutError, EOFError, ValueError, asyncio.LimitOverrunError)


class StreamRefused(Exception):
    """It will not have this stream. `broken`: parts of it may run on, which only the host's end ends."""

    def __init__(self, messages: list[str], *, broken: bool) -> None:
        super().__init__("; ".join(messages))
        self.messages = messages
        self.broken = broken


class Exists(Exception):
    """It has a stream of that id already."""


class Silent(Exception):
    """No answer, or not in time: what was asked for may have been done.

    `cut`: it took the question and hung up. `unasked`: it could not be asked, for want of something here.
    """

    def __init__(self, words: str, *, cut: bool = False, unasked: bool = False) -> None:
        super().__init__(words)
        self.cut = cut
        self.unasked = unasked


class NotOurs(Exception):
    """Another program answers there."""


class Api:
    """One host's. Calls may run at the same time, over as many connections."""

    def __init__(self, port: int, token: str, password: str) -> None:
        self._port = port
        self._root = token
        basic = base64.b64encode(f"{USER}:{password}".encode()).decode()
        self._headers = f"Authorization: Basic {basic}\r\n"
        self._idle: list[Connection] = []
        self._closed = False

    async def close(self) -> None:
        """Give back all connections that are not in use."""
        self._closed = True
        while self._idle:
            await self._idle.pop().close()

    async def ping(self) -> None:
        """Return if it is ours and answers. Raises Silent, NotOurs."""
        await self._get("/ping")

    async def streams(self) -> dict[str, bool]:
        """Ids of its streams, and whether each is active: False once it has ended by itself."""
        status, body = await self._get("/streams")
        found = read_object(body, most=MAX_BODY)
        try:
            return {name: bool(info["active"]) for name, info in found.items()}  # type: ignore[union-attr]
        except (AttributeError, TypeError, KeyError) as error:
            raise Silent(f"/streams: {status}, and no list") from error

    async def unconnected(self) -> frozenset[str] | None:
        """Ids of the active streams that are not connected; None if it can't tell in one go."""
        status, body = await self._get("/ready")
        if status == 200:
            return frozenset()
        match = _UNCONNECTED.fullmatch(body.decode("utf-8", "replace"))
        return frozenset(match[1].split(", ")) if match else None

    async def detail(self, name: str) -> tuple[bool, str]:
        """Whether one stream is connected, and in the engine's words what is not."""
        status, body = await self._get(f"/{name}/ready")
        return status == 200, body[:1000].decode("utf-8", "replace").strip()

    async def metrics(self) -> str:
        """Of all its streams; "" if it has none."""
        status, body = await self._get("/metrics")
        return body.decode("utf-8", "replace") if status == 200 else ""

    async def create(self, name: str, body: bytes) -> None:
        """Raises StreamRefused, Exists, Silent, NotOurs."""
        path = f"/streams/{name}"
        status, said = await self._call("POST", path, body, CREATE_WITHIN)
        if status == 200:
            return
        text = said.decode("utf-8", "replace").strip()
        if text == "Stream already exists":
            raise Exists
        raise StreamRefused(_messages(text), broken=status >= 500)

    async def delete(self, name: str, within: float | None = TIMEOUT) -> bool:
        """Drain and delete it, over a connection of its own; whether that is done.

        False: it has not ended. Whoever cancels this, and the end of `within`, tells it to end at once.
        """
        status, _ = await self._call("DELETE", f"/streams/{name}", None, within, kept=False)
        return status in (200, 404)

    # ---- calls

    async def _get(self, path: str) -> tuple[int, bytes]:
        kept = bool(self._idle)
        try:
            return await self._call("GET", path, None, TIMEOUT)
        except Silent:
            if not kept:
                raise
        # That connection may merely have been idle for too long.
        return await self._call("GET", path, None, TIMEOUT, kept=False)

    async def _call(
        self, method: str, path: str, body: bytes | None, within: float | None, *, kept: bool = True
    ) -> tuple[int, bytes]:
        connection = await self._kept() if kept else None
        try:
            async with asyncio.timeout(within):
                if connection is None:
                    connection = await self._open()
                answer = await connection.request(
                    method, f"{self._root}{path}", body, self._headers
                )
        except _FAILURES as error:
            if connection is not None:
                await connection.close()
            raise _silent(f"{method} {path}", error) from error
        except BaseException:
            if connection is not None:
                await connection.close()
            raise
        await self._give_back(connection)
        return answer

    async def _kept(self) -> Connection | None:
        """One that is idle, and was not ended by its host meanwhile."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.hung_up:
                return connection
            await connection.close()
        return None

    async def _open(self) -> Connection:
        connection = await Connection.open("127.0.0.1", self._port)
        try:
            answer = await connection.request("GET", f"{self._root}/ping", None, self._headers)
            if answer != (200, b"pong"):
                raise NotOurs
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _give_back(self, connection: Connection) -> None:
        if connection.ended or self._closed or len(self._idle) >= KEPT:
            await connection.close()
        else:
            self._idle.append(connection)


def _silent(asked: str, error: Exception) -> Silent:
    """What a failed call says of the host: nothing, where this process has no more files or ports."""
    cut = isinstance(error, EOFError | ConnectionResetError | BrokenPipeError)
    unasked = isinstance(error, OSError) and error.errno in _WANTS
    return Silent(f"{asked}: {type(error).__name__}", cut=cut, unasked=unasked)


def _messages(text: str) -> list[str]:
    """What the engine complains of: JSON with a list, or one line of plain text."""
    found = read_json(text.encode())
    if found is None:
        return [text.removeprefix("Error: ")]
    if isinstance(found, Mapping):
        for key in ("lint_errors", "linting_errors"):
            if isinstance(found.get(key), list):
                return [str(message) for message in found[key]]
    return [text]
