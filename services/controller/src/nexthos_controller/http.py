"""HTTP on loopback: /livez, /readyz, /metrics (Prometheus), and what else it is given. Knows no more.

Python's own WSGI server, as Prometheus' client library uses it: a thread for each request, and each request
is answered on the loop, so a loop that hangs is not alive. aiohttp takes 0.15 s of CPU to load at each
start of a controller, and 10 MB, for a handful of GETs a minute.
"""

from __future__ import annotations

import asyncio
import errno
import io
import re
import socketserver
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from socket import AF_INET, AF_INET6
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from nexthos_shared.errors import SettingsError

ANSWER_WITHIN = 10.0  # seconds; Prometheus gives up after as long
IDLE_WITHIN = 30.0  # seconds for the other side to ask, and to take what it gets

TRY_AGAIN = 1.0  # seconds
NOTHING_LEFT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

log = structlog.get_logger(__name__)


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


NOT_ALLOWED = Answer(b"only GET and HEAD\n", 405)


@dataclass(frozen=True, slots=True)
class Route:
    """Paths that match as a whole, and who answers, on the loop."""

    path: re.Pattern[str]
    answer: Callable[[Request], Awaitable[Answer]]


@asynccontextmanager
async def serve_http(
    address: str,
    registry: CollectorRegistry,
    is_ready: Callable[[], bool],
    more: Iterable[Route] = (),
    why_not: Callable[[], str] = str,
) -> AsyncIterator[str]:
    """Serve on `host:port` (port 0 picks one); yields the base URL. Raises SettingsError.

    `why_not` says in a line why it is not ready.
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

    own = {"/livez": livez, "/readyz": readyz, "/metrics": metrics}
    routes = [Route(re.compile(path), answer) for path, answer in own.items()]
    loop = asyncio.get_running_loop()
    server = _listening(address, _Application([*routes, *more], loop))
    taking = asyncio.create_task(server.take_connections(), name="http")
    try:
        host = server.server_name
        yield f"http://{f'[{host}]' if ':' in host else host}:{server.server_port}"
    finally:
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
        server.server_close()


def _listening(address: str, application: _Application) -> _Server:
    host, _, port = address.rpartition(":")
    try:
        server = _Server((host.strip("[]") or "127.0.0.1", int(port)), _Handler)
    except (OSError, ValueError, OverflowError) as error:
        raise SettingsError(
            f"NEXTHOS_HTTP={address}: {error}; choose another address, or port 0", field="http"
        ) from error
    server.set_app(application)
    return server


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """Takes one connection at each call of `handle_request`, when the loop says that there is one."""

    daemon_threads = True  # whoever reads slowly keeps no controller from ending
    timeout = 0.0
    allow_reuse_port = False  # two controllers would answer on one
    request_queue_size = 128  # Prometheus asks for thousands of targets at about the same time

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        self._exhausted = False
        self.address_family = AF_INET6 if ":" in address[0] else AF_INET
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # The library's own asks DNS for this machine's name, which may take long where there is none.
        socketserver.TCPServer.server_bind(self)
        self.socket.setblocking(False)  # who hangs up before it is accepted must not block the loop
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    async def take_connections(self) -> None:
        """For ever."""
        loop, there = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self.fileno(), there.set)
        try:
            while True:
                await there.wait()
                there.clear()
                self.handle_request()
                if self._exhausted:  # it stays there: each turn of the loop would try again
                    self._exhausted = False
                    log.warning("http: no connection can be taken: too many files are open")
                    loop.remove_reader(self.fileno())
                    await asyncio.sleep(TRY_AGAIN)
                    loop.add_reader(self.fileno(), there.set)
        finally:
            loop.remove_reader(self.fileno())

    def get_request(self) -> Any:
        """See socketserver, which tells nobody of an error."""
        try:
            return super().get_request()
        except OSError as error:
            self._exhausted = error.errno in NOTHING_LEFT
            raise


class _Handler(WSGIRequestHandler):
    timeout = IDLE_WITHIN

    def handle(self) -> None:
        try:
            super().handle()
        except (TimeoutError, ConnectionError) as error:
            log.debug("http", error=str(error))

    def get_stderr(self) -> Any:
        """Nowhere: what it says there is of readers that left, and not in the log's form."""
        return io.StringIO()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what is asked for each second is no news."""


class _Application:
    """Which route answers, as WSGI asks for it in a thread."""

    def __init__(self, routes: Iterable[Route], loop: asyncio.AbstractEventLoop) -> None:
        self._routes = tuple(routes)
        self._loop = loop

    def __call__(
        self, environ: Mapping[str, Any], start_response: Callable[..., Any]
    ) -> list[bytes]:
        method = environ["REQUEST_METHOD"]
        answer = self._answer(environ) if method in ("GET", "HEAD") else NOT_ALLOWED
        headers = [("Content-Type", answer.content_type), ("Content-Length", str(len(answer.body)))]
        start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", headers)
        return [answer.body] if method != "HEAD" else []

    def _answer(self, environ: Mapping[str, Any]) -> Answer:
        host = environ.get("HTTP_HOST") or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
        for route in self._routes:
            if found := route.path.fullmatch(environ["PATH_INFO"]):
                return self._asked(route, Request(found.groupdict(), host))
        return Answer(b"not found\n", 404)

    def _asked(self, route: Route, request: Request) -> Answer:
        async def answer() -> Answer:
            return await route.answer(request)

        asked = asyncio.run_coroutine_threadsafe(answer(), self._loop)
        try:
            return asked.result(ANSWER_WITHIN)
        except (TimeoutError, CancelledError):
            asked.cancel()
            return Answer(b"no answer in time\n", 503)
        except Exception:
            log.exception("http", path=route.path.pattern)
            return Answer(b"a defect of nexthos; see the controller's log\n", 500)
