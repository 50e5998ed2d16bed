"""One endpoint of the micro service: what it takes, what it gives, and what its requests cost.

Most answer with one reply. One that streams is handed an `Outlet`, through which its messages go to
whoever asked. Knows nothing of NATS messages, and nothing of what is answered.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from pydantic import BaseModel

from nexthos_shared.model.stored import Stored, schema

_BYTES = '{"type": "string", "format": "binary"}'
SHORT = 20_000  # requests that may wait where each is answered within a moment


class ReaderGone(Exception):
    """Nobody takes the messages of a stream any more."""


class Outlet(Protocol):
    """Where the messages of one streamed answer go."""

    @property
    def most(self) -> int:
        """Bytes of one message."""

    async def send(self, body: bytes) -> None:
        """Hand a message over, and do not wait for whoever reads it. Raises ReaderGone."""

    async def ask(self, body: bytes, probe: bytes) -> None:
        """Hand a message over, and return when it was taken.

        `probe` is a message without content, sent while a reader takes its time, to learn whether it
        is still there. A reader that never answered is waited for a second. Raises ReaderGone.
        """

    async def end(self, headers: Mapping[str, str]) -> None:
        """Say that this was all. Never raises."""


@dataclass(frozen=True, slots=True)
class Raw:
    """A reply that is no JSON."""

    body: bytes
    headers: Mapping[str, str]


class Asker(Protocol):
    """Whoever waits for one answer."""

    async def left(self) -> None:
        """Return when nobody waits any more, as far as can be known. Never raises."""


Answer = Callable[[Any], Awaitable[Stored]]
SlowAnswer = Callable[[Any, Asker], Awaitable[Stored]]
Stream = Callable[[Any, Outlet], Awaitable[None]]
RawAnswer = Callable[[str, Any], Awaitable[Raw]]


@dataclass(slots=True)
class Endpoint:
    """One endpoint: `answer` gives its one reply, or `stream` sends what there is to send.

    `raw` gives bytes, and is asked on a subject with one token more, which it is handed: NATS grants
    subjects, so that is how it can tell who may ask for what.
    `slow_answer` gives one reply too, and ends early where nobody waits for it any more.
    """

    name: str
    request: type[BaseModel]
    reply: tuple[type[Stored], ...]
    answer: Answer | None = None
    slow_answer: SlowAnswer | None = None
    stream: Stream | None = None
    raw: RawAnswer | None = None
    at_once: int = 64  # requests that are answered at the same time
    waiting: int = 0  # more that wait for it; what is beyond is refused (429)
    requests: int = 0
    errors: int = 0
    last_error: str | None = None
    nanoseconds: int = 0

    @property
    def metadata(self) -> dict[str, str]:
        """JSON Schemas of request and reply, as `nats micro info` shows them."""
        reply = _schema(*self.reply) if self.reply else _BYTES
        return {"request_schema": _schema(self.request), "response_schema": reply}


@cache  # making them takes 3 ms each, at every term
def _schema(*models: type[Stored] | type[BaseModel]) -> str:
    return json.dumps(schema(*models))


class Offer(Protocol):
    """Whoever has answers."""

    def endpoints(self) -> Iterable[Endpoint]:
        """All endpoints that could be offered, new at each call."""
