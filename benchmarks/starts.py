"""What every publish -> ready has in common: the pipeline, one start of ours, and who listens to it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from nats.aio.msg import Msg
from nats.js.api import StorageType, StreamConfig

from benchmarks.figures import Figure, Target
from nexthos_shared.engine.launch import HTTP_USER
from nexthos_shared.engine.readiness import Connection, authorization
from nexthos_testing.field import Field

LOOK_EVERY = 0.001  # seconds between two looks at /ready, for both
WITHIN = 20.0  # seconds for one start
REST = 0.2  # seconds after each run, so that its end does not fall into the next

CONFIG = """\
input:
  nats_jetstream:
    urls: ["${{NATS_URL}}"]
    subject: bench.in.{key}
    deliver: all
pipeline:
  processors:
    - mapping: root = content().uppercase()
output:
  nats: {{urls: ["${{NATS_URL}}"], subject: bench.out.{key}}}
"""


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds from the put, or from the spawn."""

    ready: float
    message: float
    running: float = 0.0  # until the stored status says so


async def add_stream(field_: Field) -> None:
    """Where the messages wait that the pipelines begin with."""
    config = StreamConfig(name="bench", subjects=["bench.in.*"], storage=StorageType.MEMORY)
    await field_.js.add_stream(config)


def figures(
    executor: str, target: Target | None, other_is: str, ours: list[Start], other: list[Start]
) -> list[Figure]:
    """What pairs of starts amount to."""
    ready = tuple(s.ready for s in other)
    return [
        Figure(
            f"publish -> /ready, {executor}",
            "s",
            tuple(s.ready for s in ours),
            ready,
            other_is,
            target,
        ),
        Figure(
            f"publish -> first message out, {executor}",
            "s",
            tuple(s.message for s in ours),
            tuple(s.message for s in other),
            other_is,
        ),
        Figure(
            f"publish -> status Running, {executor}",
            "s",
            tuple(s.running for s in ours),
            ready,
            other_is,
        ),
    ]


@dataclass
class Heard:
    """What is heard of one pipeline on NATS, with the moment at which it was."""

    execution: asyncio.Future[dict[str, Any]] = field(default_factory=asyncio.Future)
    running: asyncio.Future[float] = field(default_factory=asyncio.Future)
    gone: asyncio.Future[float] = field(default_factory=asyncio.Future)
    message: asyncio.Future[float] = field(default_factory=asyncio.Future)

    async def status(self, msg: Msg) -> None:
        """A status as it is stored: plain interest in its subject sees it at once."""
        now = time.perf_counter()
        if not msg.data:
            _settle(self.gone, now)
            return
        status = json.loads(msg.data)
        for execution in status["executions"]:
            if execution.get("endpoint"):
                _settle(self.execution, execution)
        if status["phase"] == "Running":
            _settle(self.running, now)

    async def output(self, msg: Msg) -> None:
        """What comes out of the pipeline."""
        _settle(self.message, time.perf_counter())


def _settle(future: asyncio.Future[Any], value: object) -> None:
    if not future.done():
        future.set_result(value)


async def managed(field_: Field, key: str, ready_at: Callable[[Heard], Awaitable[float]]) -> Start:
    """One of ours, from the put of its definition; it is deleted afterwards.

    `ready_at` gives the moment at which it is ready, by `engine_ready` or another way.
    """
    await field_.config(key, CONFIG.format(key=key))
    await field_.js.publish(f"bench.in.{key}", b"hello")
    bucket = await field_.pipelines()
    definition = json.dumps({"status": "published", "version": "1"}).encode()
    async with asyncio.timeout(WITHIN), listening(field_, key) as heard:
        began = time.perf_counter()
        await bucket.put(key, definition)
        ready = await ready_at(heard)
        start = Start(ready - began, await heard.message - began, await heard.running - began)
        await bucket.delete(key)
        await heard.gone
    await asyncio.sleep(REST)
    return start


def engine_ready(password_of: Callable[[str], str]) -> Callable[[Heard], Awaitable[float]]:
    """Asks the engine that the status names; `password_of` finds what opens its HTTP, by its name."""

    async def ready(heard: Heard) -> float:
        execution = await heard.execution
        return await until_ready(execution["endpoint"], password_of(execution["name"]))

    return ready


@asynccontextmanager
async def listening(field_: Field, key: str) -> AsyncIterator[Heard]:
    """Hear its status and its messages."""
    heard = Heard()
    nc, status = field_.nc, f"$KV.{field_.names.status}.{key}"
    async with AsyncExitStack() as stack:
        for subject, cb in ((status, heard.status), (f"bench.out.{key}", heard.output)):
            subscription = await nc.subscribe(subject, cb=cb)
            stack.push_async_callback(subscription.unsubscribe)
        await nc.flush()
        yield heard


async def until_ready(endpoint: str, password: str = "") -> float:
    """The moment at which /ready answers 200, to this password if there is one."""
    url, headers = urlsplit(endpoint), authorization(HTTP_USER, password) if password else ""
    while True:
        with suppress(OSError, EOFError, ValueError):
            connection = await Connection.open(url.hostname or "", url.port or 80)
            try:
                while not connection.ended:
                    if (await connection.get("/ready", headers))[0] == 200:
                        return time.perf_counter()
                    await asyncio.sleep(LOOK_EVERY)
            finally:
                await connection.close()
        await asyncio.sleep(LOOK_EVERY)
