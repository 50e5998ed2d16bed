"""Brokers: whether the NATS servers that pipelines talk to answer, as far as can be said from here.

An engine's NATS components count as connected while they reconnect, however long that takes: its
`/ready` says nothing of a broker that went away. So each URL in use is greeted every other second; a
NATS server speaks first. One that never answered from here may be reachable from where the pipeline
runs, so only one that answered before can be away.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from urllib.parse import urlsplit

import structlog

from nexthos_controller.loop.reconciler import Controller

EVERY = 2.0  # seconds
WITHIN = 1.0  # seconds
GREETING = b"INFO "
PORT = 4222

log = structlog.get_logger(__name__)


class Brokers:
    """Greets the brokers in use, and has the pipelines of one that came or went looked at again."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._answered: set[str] = set()

    async def watch(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(EVERY)  # first too: nothing was looked at yet
            users = self._users()
            answers = await asyncio.gather(*(_answers(url) for url in users))
            here = {url for url, answers in zip(users, answers, strict=True) if answers}
            self._answered = (self._answered | here) & users.keys()
            self._tell(frozenset(self._answered - here), users)

    def _users(self) -> dict[str, set[str]]:
        """Pipelines by the URL that they talk to."""
        users: dict[str, set[str]] = {}
        known = self._controller.facts.connections
        for key, outline in self._controller.book.looked_at().items():
            for broker in outline.brokers:
                url = broker.url or known.get(broker.connection, "")
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
