"""Brokers: whether the NATS servers that pipelines talk to answer, as far as can be said from here.

An engine's NATS components count as connected while they reconnect, however long that takes: its
`/ready` says nothing of a broker that went away. So each URL in use is greeted every other second; a
NATS server speaks first. One that never answered from here may be reachable from where the pipeline
runs, so only one that answered before can be away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import structlog

from nexthos_controller.loop.reconciler import Controller
from nexthos_shared.model.stored import Stored, always
from nexthos_shared.names import ENV_NATS_URL

EVERY = 2.0  # seconds
WITHIN = 1.0  # seconds
GREETING = b"INFO "
PORT = 4222

log = structlog.get_logger(__name__)


class _Definition(Stored, frozen=True):
    env: dict[str, str] = always({})
    connection: str = "default"


class _Traits(Stored, frozen=True):
    uses_nats: bool = False


class _Accepted(Stored, frozen=True, kw_only=True):
    definition: _Definition
    traits: _Traits | None = None


class _Memory(Stored, frozen=True):
    current: _Accepted | None = None
    last_good: _Accepted | str | None = None

    def using_nats(self) -> Iterator[_Definition]:
        """Definitions of those that talk to a NATS."""
        for accepted in (self.current, self.last_good):
            if isinstance(accepted, _Accepted) and accepted.traits and accepted.traits.uses_nats:
                yield accepted.definition


class _Status(Stored, frozen=True):
    """Of a PipelineStatus, what tells which NATS servers are in use: read in a tenth of the time."""

    memory: _Memory = always(_Memory())


class Brokers:
    """Greets the brokers in use, and has the pipelines of one that came or went looked at again."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._answered: set[str] = set()

    async def watch(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(EVERY)  # first too: nothing was looked at yet
            users = await asyncio.to_thread(self._users)  # every status is read for it
            answers = await asyncio.gather(*(_answers(url) for url in users))
            here = {url for url, answers in zip(users, answers, strict=True) if answers}
            self._answered = (self._answered | here) & users.keys()
            self._tell(frozenset(self._answered - here), users)

    def _users(self) -> dict[str, set[str]]:
        """Pipelines by the URL that they talk to."""
        users: dict[str, set[str]] = {}
        known = self._controller.facts.connections
        for key, status in self._controller.statuses.each(_Status):
            for definition in status.memory.using_nats():
                url = definition.env.get(ENV_NATS_URL) or known.get(definition.connection, "")
                users.setdefault(url, set()).add(key)
        return users

    def _tell(self, away: frozenset[str], users: dict[str, set[str]]) -> None:
        before = self._controller.away
        self._controller.away = away
        for url in before ^ away:
            keys = users.get(url, set())
            log.warning(
                "a broker is away" if url in away else "a broker is back", used_by=len(keys)
            )
            for key in keys:
                self._controller.queue.add(key, live=False)


async def _answers(urls: str) -> bool:
    """Whether one of the servers (separated by commas) greets as NATS servers do."""
    for url in urls.split(","):
        parts = urlsplit(url if "://" in url else f"nats://{url}")
        if parts.scheme in ("nats", "tls") and parts.hostname:
            with suppress(OSError, ValueError, TimeoutError):
                if await _greets(parts.hostname, parts.port or PORT):
                    return True
    return False


async def _greets(host: str, port: int) -> bool:
    async with asyncio.timeout(WITHIN):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            return await reader.read(len(GREETING)) == GREETING
        finally:
            writer.close()
