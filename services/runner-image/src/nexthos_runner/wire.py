"""One connection to a NATS server, blocking, for a handful of requests. Then it is closed for good.

Comes in: URL, credentials, a time limit per step. Goes out: answers. Raises `Away` for what may pass, and
`Failed` for what will not (77 refused, 78 files). Must not know what is read.

Of the protocol it speaks INFO, CONNECT, SUB, PUB, PING, MSG and HMSG. nats-py would do it all, and takes
100 ms of CPU to be imported (asyncio 46 of it), as much as everything the runner may take: measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from nexthos_runner import credentials
from nexthos_runner.failed import Failed
from nexthos_shared.exit_codes import Exit
from nexthos_shared.nats import urls

STEP_WITHIN = 2.0  # seconds for one connect, one greeting, one answer
MAX_LINE = 64 * 1024  # bytes of an INFO: clusters list their servers there
MAX_ANSWER = 8 * 1024 * 1024  # bytes: as much as a server may be told to let through
# White space and controls end a subject; a wildcard in it is another pipeline's chunk.
_NO_SUBJECT = re.compile(r"[\x00-\x20\x7f*>]|\A\Z")
_PERMISSIONS = re.compile(r"Permissions Violation for (\w+) to \"([^\"]*)\"", re.IGNORECASE)
_CREDENTIALS = ("authorization", "authentication", "credentials")


class Away(Exception):
    """Nobody there, or no answer: it may pass."""


@dataclass(frozen=True, slots=True)
class Access:
    """How the store is reached."""

    url: str  # or several, with commas between
    creds: Path | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """An answer. `status`: 404 and the like; 0 for a message."""

    status: int
    headers: dict[str, str]
    data: bytes


class Wire:
    """`with Wire.open(...) as wire`: connected, and subscribed to the answers."""

    def __init__(self, connection: socket.socket, inbox: str, where: str) -> None:
        self._socket = connection
        self._inbox = f"{inbox}.{os.urandom(8).hex()}"
        self._where = where
        self._buffer = b""
        self._asked = 0
        self._deadline = 0.0

    @classmethod
    def open(cls, access: Access, *, name: str, inbox: str) -> Wire:
        """The first of the servers that answers. Raises Away, or Failed."""
        why = Away("no server is named")
        for url in access.url.split(","):
            try:
                return cls._open(url.strip(), access, name, inbox)
            except Away as error:
                why = error
        raise why

    @classmethod
    def _open(cls, url: str, access: Access, name: str, inbox: str) -> Wire:
        target = _Target.of(url)
        try:
            connection = socket.create_connection((target.host, target.port), STEP_WITHIN)
        except (OSError, UnicodeError) as error:  # a name that no DNS takes
            raise Away(f"NATS at {target.where}: {_words(error)}") from error
        wire = cls(connection, inbox, target.where)
        try:
            with wire._translated():
                wire._greet(target, access, name)
        except BaseException:
            wire.close()
            raise
        return wire

    def _greet(self, target: _Target, access: Access, name: str) -> None:
        info = json.loads(self._line().removeprefix(b"INFO "))
        if target.tls or info.get("tls_required"):
            context = credentials.tls(access.ca, access.cert, access.key)
            self._socket = context.wrap_socket(self._socket, server_hostname=target.host)
        nonce = str(info.get("nonce", ""))
        connect: dict[str, Any] = {
            "verbose": False,
            "pedantic": False,
            "lang": "python",
            "version": "0",
            "protocol": 1,
            "name": name,
            "headers": True,
            "no_responders": True,
            **credentials.fields(access.creds, target.user, target.password, nonce),
        }
        self._send(f"CONNECT {json.dumps(connect)}", f"SUB {self._inbox}.* 1", "PING")
        while self._line() != b"PONG":
            pass

    def get(self, subject: str, payload: bytes = b"") -> Message:
        """Ask, and the answer. Raises Away, or Failed where the subject is refused."""
        if _NO_SUBJECT.search(subject):
            # Made of what others wrote, it would end this line and begin another command.
            raise Failed(Exit.DAMAGED, f"{subject[:60]!r} is no subject that may be asked")
        self._asked += 1
        reply = f"{self._inbox}.{self._asked}"
        with self._translated():
            self._send(f"PUB {subject} {reply} {len(payload)}\r\n{payload.decode()}")
            while True:
                words = self._line().split()
                if words[0] in (b"MSG", b"HMSG"):
                    message = self._message(words)
                    if words[1].decode() == reply:
                        return message

    def _message(self, words: list[bytes]) -> Message:
        size = int(words[-1])
        head = int(words[-2]) if words[0] == b"HMSG" else 0
        if not 0 <= head <= size <= MAX_ANSWER:
            raise ValueError("an answer too large")
        while len(self._buffer) < size + 2:
            self._more()
        content, self._buffer = self._buffer[:size], self._buffer[size + 2 :]
        first, *lines = content[:head].decode("utf-8", "replace").split("\r\n")
        status = first.partition(" ")[2][:3]
        headers = {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
        return Message(int(status or 0), headers, content[head:])

    def _line(self) -> bytes:
        """The next line that is for the caller; refusals are raised here."""
        while True:
            while b"\r\n" not in self._buffer:
                if len(self._buffer) > MAX_LINE:
                    raise ValueError("a line too long")
                self._more()
            line, _, self._buffer = self._buffer.partition(b"\r\n")
            if line == b"PING":
                self._send("PONG")
            elif line.startswith(b"-ERR"):
                self._refused(line[4:].decode("utf-8", "replace").strip(" '"))
            elif line:
                return line

    def _refused(self, words: str) -> None:
        if found := _PERMISSIONS.search(words):
            raise Failed(Exit.REFUSED, f'NATS refuses the {found[1].lower()} to "{found[2]}"')
        if any(word in words.lower() for word in _CREDENTIALS):
            raise Failed(Exit.REFUSED, f"NATS at {self._where} refuses these credentials: {words}")
        raise Away(f"NATS at {self._where}: {words}")

    def _send(self, *lines: str) -> None:
        self._socket.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def _more(self) -> None:
        # Anew each time: a server that sends byte by byte gets no more time than others.
        self._socket.settimeout(max(self._deadline - time.monotonic(), 0.001))
        received = self._socket.recv(64 * 1024)
        if not received:
            raise EOFError("it closed the connection")
        self._buffer += received

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """One step within its time; what goes wrong in it becomes Away or Failed."""
        self._socket.settimeout(STEP_WITHIN)
        self._deadline = time.monotonic() + STEP_WITHIN
        try:
            yield
        except (OSError, EOFError, ValueError, IndexError, AttributeError) as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                words = f"NATS at {self._where}: TLS: {error}; name the authority with NATS_CA"
                raise Failed(Exit.SETTINGS, words) from error
            raise Away(f"NATS at {self._where}: {_words(error)}") from error

    def close(self) -> None:
        """Nothing of the connection is left."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class _Target:
    host: str
    port: int
    tls: bool
    user: str | None
    password: str | None
    where: str  # to be shown

    @classmethod
    def of(cls, url: str) -> _Target:
        try:
            parts = urlsplit(url if "://" in url else f"nats://{url}")
            port = parts.port or 4222
        except ValueError:
            raise Failed(Exit.USAGE, "the store's URL has no port that can be read") from None
        if parts.scheme not in ("nats", "tls") or not parts.hostname:
            raise Failed(Exit.USAGE, f"{urls.shown(url)!r}: must be nats://host:port or tls://")
        return cls(
            parts.hostname,
            port,
            parts.scheme == "tls",
            None if parts.username is None else unquote(parts.username),
            None if parts.password is None else unquote(parts.password),
            urls.shown(url),
        )


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, EOFError):
        return str(error)
    return f"not the NATS protocol ({type(error).__name__})"
