"""Three real nats-servers that are one cluster, and when its store takes writes.

A client names all of them; which one it is connected to, and which one leads a stream, is the servers'
business and changes whenever one of them ends.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client
from nats.js.errors import APIError

from nexthos_shared.names import Names
from nexthos_testing.changes import AWAY, NatsMayBeAway
from nexthos_testing.nats import NatsServer, free_port
from nexthos_testing.wait import eventually

SIZE = 3
WRONG_LAST_SEQUENCE = {10071, 10164}
NEVER = str(2**53)  # a revision that no key has: a write that expects it is refused, by who leads
ANSWER_WITHIN = 0.25  # seconds for one try
AGAIN = 0.02  # seconds
LEADER_WITHIN = 60.0  # seconds
HEALTHY = "/healthz"


@dataclass
class Cluster:
    """`servers` share one JetStream; each keeps its ports and data over restarts."""

    servers: list[NatsServer] = field(default_factory=list)

    @property
    def url(self) -> str:
        """All of them, as a client is told."""
        return ",".join(server.url for server in self.servers)

    async def has_leader(self) -> None:
        """Wait until JetStream answers, and every server is current again."""

        async def answers() -> bool:
            nc: Client = await nats.connect(self.url.split(","), error_cb=_say_nothing)
            try:
                await nc.jetstream().account_info()
            except (APIError, *AWAY):
                return False
            finally:
                await nc.close()
            return True

        await eventually(answers, within=LEADER_WITHIN, every=0.1)

    async def are_current(self, streams: Iterable[str]) -> None:
        """Wait until every copy of these streams has all of it: another server may end now."""

        async def current() -> Any:
            nc: Client = await nats.connect(self.url.split(","), error_cb=_say_nothing)
            try:
                behind = [s for s in streams if not await _is_current(nc, s)]
            except (APIError, *AWAY) as error:
                return _Behind([repr(error)])
            finally:
                await nc.close()
            return _Behind(behind)

        await eventually(current, within=LEADER_WITHIN, every=0.1)


class _Behind:
    """True once nothing is behind; shows in a failure's message what is."""

    def __init__(self, what: list[str]) -> None:
        self._what = what

    def __bool__(self) -> bool:
        return not self._what

    def __repr__(self) -> str:
        return f"behind: {self._what}"


async def _is_current(nc: Client, stream: str) -> bool:
    reply = await nc.request(f"$JS.API.STREAM.INFO.{stream}", b"", timeout=1.0)
    group = json.loads(reply.data).get("cluster") or {}
    replicas = group.get("replicas") or []
    good = [r for r in replicas if r.get("current") and not r.get("offline")]
    return bool(group.get("leader")) and len(good) == len(replicas) == SIZE - 1


async def _say_nothing(error: Exception) -> None:
    """That a server is away is what is tested."""


@asynccontextmanager
async def cluster_of(folder: Path) -> AsyncIterator[Cluster]:
    """A cluster that has a leader. What the test left running is killed."""
    routes = [free_port() for _ in range(SIZE)]
    known = ", ".join(f'"nats-route://127.0.0.1:{port}"' for port in routes)
    cluster = Cluster()
    for number, port in enumerate(routes):
        config = (
            f"server_name: n{number}\nlame_duck_duration: 30s\nlame_duck_grace_period: 100ms\n"
            f"cluster {{ name: test, listen: 127.0.0.1:{port}, routes: [{known}] }}"
        )
        cluster.servers.append(NatsServer(folder / f"n{number}", config=config))
    async with AsyncExitStack() as stack:
        await asyncio.gather(*(stack.enter_async_context(s) for s in cluster.servers))
        await cluster.has_leader()
        yield cluster


@dataclass
class Gaps:
    """When the store of a namespace took no writes: spans of `time.time`, the last may be open."""

    spans: list[tuple[float, float]] = field(default_factory=list)
    _since: dict[str, float] = field(default_factory=dict)

    def note(self, stream: str, *, takes: bool, asked: float) -> None:
        """One probe of a stream that was sent at `asked`."""
        if not takes:
            self._since.setdefault(stream, asked)
        elif stream in self._since:
            self.spans.append((self._since.pop(stream), time.time()))

    def longest_chance(self, stored: float, acted: float) -> float:
        """The longest time between the two in which all streams took writes, seconds."""
        longest, since = 0.0, stored
        for start, end in sorted(self.spans):
            if end <= since:
                continue
            if start >= acted:
                break
            longest, since = max(longest, start - since), end
        return max(longest, acted - since)

    @property
    def closed(self) -> bool:
        """Whether every stream takes writes now."""
        return not self._since


@asynccontextmanager
async def gaps_of(url: str, names: Names) -> AsyncIterator[Gaps]:
    """Probes the four streams all the time, by writes that their leaders must refuse."""
    nc: Client = await nats.connect(
        url.split(","),
        max_reconnect_attempts=-1,
        reconnect_time_wait=AGAIN,
        ping_interval=1,  # or a frozen server would keep us
        error_cb=_say_nothing,
    )
    gaps = Gaps()
    subjects = {
        f"KV_{bucket}": f"$KV.{bucket}.probe"
        for bucket in (names.pipelines, names.status, names.control)
    }
    subjects[f"OBJ_{names.configs}"] = f"$O.{names.configs}.M.probe"

    async def probe(stream: str, subject: str) -> None:
        while True:
            asked, takes = time.time(), False
            with NatsMayBeAway():
                takes = await _refused_by_a_leader(nc, subject)
            gaps.note(stream, takes=takes, asked=asked)
            await asyncio.sleep(AGAIN)

    probes = [asyncio.create_task(probe(*one)) for one in subjects.items()]
    try:
        yield gaps
    finally:
        for one in probes:
            one.cancel()
        await asyncio.gather(*probes, return_exceptions=True)
        await nc.close()


async def _refused_by_a_leader(nc: Client, subject: str) -> bool:
    try:
        await nc.jetstream().publish(
            subject,
            b"",
            timeout=ANSWER_WITHIN,
            headers={"Nats-Expected-Last-Subject-Sequence": NEVER},
        )
    except APIError as error:
        return error.err_code in WRONG_LAST_SEQUENCE
    return True
