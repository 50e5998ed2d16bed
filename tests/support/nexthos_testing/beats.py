"""What engines do, seen without NATS: each message of a pipeline arrives here as a datagram.

The sender's port is new with each engine, so it names its life: who ran when, and whether two ran at
once, is read off what arrives and not asked of anybody.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

BEAT = """\
input:
  generate:
    interval: {every}
    mapping: root = {{"key":"{key}","mark":"${{MARK}}","n":counter()}}
output:
  socket: {{network: udp, address: "{address}"}}
"""
SILENCE = 1.0  # seconds; shorter ones are not noted
QUEUE = 4 * 2**20  # bytes that wait in the socket while this process is busy


@dataclass(slots=True)
class Life:
    """One engine, as far as it was heard."""

    port: int
    mark: str
    first: float  # seconds of time.monotonic
    last: float
    count: int = 1
    number: int = 0  # as the engine counts; one that is not the next one was lost on its way
    lost: int = 0


@dataclass(slots=True)
class Heart:
    """All engines of one pipeline, in the order in which they were first heard."""

    lives: list[Life] = field(default_factory=list)
    twins: list[str] = field(default_factory=list)  # in words: who spoke after a later one had
    silences: list[tuple[float, float]] = field(default_factory=list)  # from, to

    @property
    def now(self) -> Life | None:
        """The last one that came to life."""
        return self.lives[-1] if self.lives else None

    def take(self, port: int, mark: str, number: int, at: float) -> None:
        """Note one message."""
        last = max((one.last for one in self.lives[-2:]), default=at)
        if at - last > SILENCE:
            self.silences.append((last, at))
        life = next((one for one in reversed(self.lives) if one.port == port), None)
        if life is None or number <= life.number:  # the system gave a port once more
            self.lives.append(Life(port, mark, at, at, number=number))
            return
        if life is not self.lives[-1]:
            later = self.lives[-1]
            self.twins.append(f"{life.mark} at {at:.3f}, {later.mark} since {later.first:.3f}")
        life.lost += number - life.number - 1
        life.last, life.number = at, number
        life.count += 1


class Beats(asyncio.DatagramProtocol):
    """Hears every engine whose configuration is `config(key)`."""

    def __init__(self) -> None:
        self.address = ""
        self.hearts: dict[str, Heart] = {}

    def config(self, key: str, every: str = "200ms") -> str:
        """A pipeline that says its key and the variable MARK again and again."""
        return BEAT.format(key=key, every=every, address=self.address)

    def of(self, key: str) -> Heart:
        return self.hearts.setdefault(key, Heart())

    def mark(self, key: str) -> str | None:
        """What the youngest engine of that pipeline says."""
        life = self.of(key).now
        return life.mark if life else None

    def ports(self) -> dict[str, int | None]:
        """The youngest engine of each pipeline."""
        return {key: h.now.port if h.now else None for key, h in self.hearts.items()}

    def twins(self) -> dict[str, list[str]]:
        """Pipelines of which two engines were alive at once."""
        return {key: heart.twins for key, heart in self.hearts.items() if heart.twins}

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """One message of an engine; the line end after it comes as a datagram of its own."""
        if data != b"\n":
            said = json.loads(data)
            self.of(said["key"]).take(addr[1], said["mark"], said["n"], time.monotonic())


@asynccontextmanager
async def hearing() -> AsyncIterator[Beats]:
    """Listen on a port of our own."""
    loop = asyncio.get_running_loop()
    transport, beats = await loop.create_datagram_endpoint(Beats, ("127.0.0.1", 0))
    own: socket.socket = transport.get_extra_info("socket")
    own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, QUEUE)
    host, port = own.getsockname()
    beats.address = f"{host}:{port}"
    try:
        yield beats
    finally:
        transport.close()
