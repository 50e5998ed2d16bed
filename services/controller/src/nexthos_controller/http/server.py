"""HTTP: /livez, /readyz, /metrics (Prometheus), and what else it is given. Knows no more.

A connection brings one request and is a task on the loop, so a loop that hangs is not alive. What is
spoken is the little that probes and Prometheus need: aiohttp takes 0.15 s of CPU to load at each start of
a controller, and 10 MB, for a handful of GETs a minute. How many may be connected is in listener.py.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from nexthos_controller.http.listener import MOST, Doorway, Visitor, listening

ANSWER_WITHIN = 10.0  # seconds; Prometheus gives up after as long
ASKED_WITHIN = 10.0  # seconds for the other side to ask
TAKEN_WITHIN = 30.0  # seconds for the other side to take what it gets
LINE_BYTES = 64 * 1024
MOST_HEADERS = 100

log = structlog.get_logger(__name__)

_REQUEST = re.compile(r"([!-~]+) ([!-~]+) HTTP/1\.[0-9]")


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: the named parts of its path, and the host that the client called."""

    parts: Mapping[str, str]
    host: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said."""

    body: bytes
    status: int = 200
    content_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Route:
    """Paths that match as a whole, and who answers, on the loop; `open` ones need no token.

    What takes a thread is answered one at a time (`at_once`): there are few, and others need them.
    """

    path: re.Pattern[str]
    answer: Callable[[Request], Awaitable[Answer]]
    open: bool = False
    at_once: int = MOST


@dataclass(frozen=True, slots=True)
class _Head:
    method: str
    path: str
    headers: Mapping[str, str]  # names in lower case; the last one of each


@dataclass(slots=True)
class _NoRequest(Exception):
    status: int
    words: str


@asynccontextmanager
async def serve_http(
    address: str,
    registry: CollectorRegistry,
    is_ready: Callable[[], bool],
    more: Iterable[Route] = (),
    token: str | None = None,
    why_not: Callable[[], str] = str,
) -> AsyncIterator[str]:
    """Serve on `host:port` (port 0 picks one) or `unix:/path`; yields the base URL.

    Without `token` everybody who reaches it is answered. `why_not` says in a line why it is not ready.
    Raises SettingsError.
    """

    async def livez(_: Request) -> Answer:
        return Answer(b"ok\n")

    async def readyz(_: Request) -> Answer:
        if is_ready():
            return Answer(b"ok\n")
        words = ": ".join(part for part in ("not ready", why_not()) if part)
        return Answer(f"{words}\n".encode(errors="replace"), 503)

    async def metrics(_: Request) -> Answer:
        # In a thread: 10,000 pipelines take half a second, and reconciling goes on meanwhile.
        text = await asyncio.to_thread(generate_latest, registry)
        return Answer(text, content_type=CONTENT_TYPE_LATEST)

    own = [
        Route(re.compile("/livez"), livez, open=True),
        Route(re.compile("/readyz"), readyz, open=True),
        Route(re.compile("/metrics"), metrics, at_once=1),
    ]
    with listening(address) as (listener, url):
        async with Doorway(listener, _Application([*own, *more], url, token).serve):
            yield url


class _Application:
    """Which route answers, and whether to whom asks."""

    def __init__(self, routes: Iterable[Route], url: str, token: str | None) -> None:
        self._routes = [(route, asyncio.Semaphore(route.at_once)) for route in routes]
        self._here = url.partition("://")[2]
        self._token = f"Bearer {token}".encode() if token else None

    async def serve(self, visitor: Visitor) -> None:
        """Answer one connection's request."""
        method = "GET"
        try:
            async with asyncio.timeout(ASKED_WITHIN):
                head = await _read(visitor.reader)
            method = head.method
            visitor.occupied()
            answer = await self._answer(head)
        except _NoRequest as error:
            answer = Answer(f"{error.words}\n".encode(), error.status)
        body = answer.body if method != "HEAD" else b""
        visitor.idle()
        async with asyncio.timeout(TAKEN_WITHIN):
            await visitor.say(_head_of(answer) + body)

    async def _answer(self, head: _Head) -> Answer:
        if head.method not in ("GET", "HEAD"):
            return Answer(b"only GET and HEAD\n", 405)
        for route, places in self._routes:
            if found := route.path.fullmatch(head.path):
                if not (route.open or self._knows(head.headers.get("authorization", ""))):
                    return Answer(b"a token is needed: Authorization: Bearer TOKEN\n", 401)
                host = head.headers.get("host") or self._here
                return await _asked(route, places, Request(found.groupdict(), host))
        return Answer(b"not found\n", 404)

    def _knows(self, authorization: str) -> bool:
        return self._token is None or hmac.compare_digest(authorization.encode(), self._token)


async def _asked(route: Route, places: asyncio.Semaphore, request: Request) -> Answer:
    try:
        async with asyncio.timeout(ANSWER_WITHIN), places:
            return await route.answer(request)
    except TimeoutError:
        return Answer(b"no answer in time\n", 503)
    except Exception:
        log.exception("http", path=route.path.pattern)
        return Answer(b"a defect of nexthos; see the controller's log\n", 500)


async def _read(reader: asyncio.StreamReader) -> _Head:
    """The head of a request. Raises _NoRequest, and EOFError where it ends before."""
    found = _REQUEST.fullmatch(await _line(reader, HTTPStatus.REQUEST_URI_TOO_LONG))
    if found is None:
        raise _NoRequest(400, "this is no request of HTTP/1.1")
    headers: dict[str, str] = {}
    size = 0
    for _ in range(MOST_HEADERS):
        line = await _line(reader, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if not line:
            method, target = found.groups()
            path = unquote(target.partition("?")[0], "iso-8859-1")
            return _Head(method, path, headers)
        name, colon, value = line.partition(":")
        size += len(line)
        if not colon or size > LINE_BYTES:
            break
        headers[name.lower()] = value.strip()
    else:
        size = LINE_BYTES + 1
    raise _NoRequest(431 if size > LINE_BYTES else 400, "these headers are not understood")


async def _line(reader: asyncio.StreamReader, too_long: int) -> str:
    try:
        line = await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError as error:
        raise _NoRequest(too_long, f"a line of more than {LINE_BYTES} bytes") from error
    return line.decode("iso-8859-1").rstrip("\r\n")


def _head_of(answer: Answer) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        "Connection: close",
        *(["WWW-Authenticate: Bearer"] if answer.status == HTTPStatus.UNAUTHORIZED else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode()
