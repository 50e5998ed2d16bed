"""The doorway of HTTP: a listener, and a bounded number of connections, each of which is a task.

Comes in: an address. Goes out: visitors. At the bound the one that has had nothing to do for longest goes
(it asks nothing, or takes nothing of what it is told); while all are being answered, new ones wait before
the door. Knows nothing of what is said.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import structlog

from nexthos_shared.errors import SettingsError

MOST = 128  # connections at once
BACKLOG = 128  # Prometheus asks for thousands of targets at about the same time
READ_BYTES = 64 * 1024  # kept of what one says
PATIENCE = 0.25  # seconds for one to ask, and to take what it is told, before it may have to go
LOOK_EVERY = 0.05  # seconds, while all are busy
LISTENED_ON = 0.5  # seconds to what else is said by one that was answered, so that it is not reset
TRY_AGAIN = 1.0  # seconds
NOTHING_LEFT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
UNIX = "unix:"

log = structlog.get_logger(__name__)


@dataclass(eq=False, slots=True)
class Visitor:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    spared_until: (
        float | None
    )  # on the loop's clock, while it has to do something; else it waits for us

    def occupied(self) -> None:
        """It has asked, and waits for us."""
        self.spared_until = None

    def idle(self) -> None:
        """It has to do something itself."""
        self.spared_until = asyncio.get_running_loop().time() + PATIENCE

    async def say(self, words: bytes) -> None:
        """The last words; returns when they were taken. Raises OSError."""
        self.writer.transport.set_write_buffer_limits(high=0)
        self.writer.write(words)
        await self.writer.drain()
        self.writer.write_eof()
        with suppress(TimeoutError):
            async with asyncio.timeout(LISTENED_ON):
                while await self.reader.read(READ_BYTES):
                    pass


class Doorway:
    """`async with Doorway(listener, serve)` lets visitors in; leaving it sends all away."""

    def __init__(
        self, listener: socket.socket, serve: Callable[[Visitor], Awaitable[None]]
    ) -> None:
        self._listener = listener
        self._serve = serve
        self._inside: dict[asyncio.Task[None], Visitor] = {}
        self._left = asyncio.Event()
        self._taking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._taking = asyncio.create_task(self._take(), name="http")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._taking is not None
        tasks = [self._taking, *self._inside]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                if error.errno in NOTHING_LEFT:  # it stays there: each turn would try again
                    log.warning("http: no connection can be taken: too many files are open")
                    await asyncio.sleep(TRY_AGAIN)
                continue
            try:
                await self._room()
                await self._let_in(connection)
            except OSError as error:
                connection.close()
                log.debug("http", error=str(error))
            except BaseException:
                connection.close()
                raise

    async def _room(self) -> None:
        """Return when one more may come in."""
        loop = asyncio.get_running_loop()
        while len(self._inside) >= MOST:
            idle = [
                (visitor.spared_until, task)
                for task, visitor in self._inside.items()
                if visitor.spared_until is not None and visitor.spared_until <= loop.time()
            ]
            if idle:
                min(idle, key=lambda one: one[0])[1].cancel()
            self._left.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self._left.wait()

    async def _let_in(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=READ_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        visitor = Visitor(reader, writer, loop.time() + PATIENCE)
        task = asyncio.create_task(self._receive(visitor))
        self._inside[task] = visitor
        task.add_done_callback(self._gone)

    async def _receive(self, visitor: Visitor) -> None:
        try:
            await self._serve(visitor)
        except (TimeoutError, EOFError, OSError) as error:
            log.debug("http", error=repr(error))
        except Exception:
            log.exception("http")

    def _gone(self, task: asyncio.Task[None]) -> None:
        # Here and not in the task: one that is cancelled before its first step runs nothing of its own.
        visitor = self._inside.pop(task)
        visitor.writer.transport.abort()
        self._left.set()


@contextmanager
def listening(address: str) -> Iterator[tuple[socket.socket, str]]:
    """A listener on `host:port` or `unix:/path`, and its URL. Raises SettingsError."""
    try:
        listener, url = _on_path(address) if address.startswith(UNIX) else _on_port(address)
    except (OSError, ValueError, OverflowError) as error:
        raise SettingsError(
            f"NEXTHOS_HTTP={address}: {error}; choose another address, or port 0", field="http"
        ) from error
    try:
        yield listener, url
    finally:
        if address.startswith(
            UNIX
        ):  # while it is ours: another controller takes the place of a dead one
            Path(address.removeprefix(UNIX)).unlink(missing_ok=True)
        listener.close()


def _on_port(address: str) -> tuple[socket.socket, str]:
    host, _, port = address.rpartition(":")
    bare = host.strip("[]") or "127.0.0.1"
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    listener = socket.socket(family)
    try:
        # Not SO_REUSEPORT: two controllers would answer on one.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((bare, int(port)))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    name, number = listener.getsockname()[:2]
    return listener, f"http://{f'[{name}]' if ':' in name else name}:{number}"


def _on_path(address: str) -> tuple[socket.socket, str]:
    """Only this user may connect: the mode is set before anybody can."""
    path = Path(address.removeprefix(UNIX))
    if not path.is_absolute():
        raise ValueError("the path of a socket must be absolute")
    listener = socket.socket(socket.AF_UNIX)
    try:
        _remove_dead(path)
        listener.bind(str(path))
        os.chmod(path, 0o600)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener, address


def _remove_dead(path: Path) -> None:
    """Make room where a controller that was killed left its socket; raises OSError if one is served."""
    if not path.exists() or not stat.S_ISSOCK(path.stat().st_mode):
        return  # what is no socket is left alone, and binding fails
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
