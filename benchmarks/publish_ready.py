"""publish -> ready: from putting a definition to its engine's readiness, against the engine alone.

One pipeline from JetStream over a mapping to NATS. Ours: the definition is put, its configuration is
stored already. The other: the same binary and configuration, started by hand. Both are asked by the
same probe at the same interval, and both have the same message waiting, so the first that comes out
tells a second time, without any probe, when a pipeline works.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nats.aio.msg import Msg
from nats.js.api import StorageType, StreamConfig

from benchmarks.figures import Figure, Target
from benchmarks.ground import Ground, Progress, ended_after, ground
from nexthos_controller.executors.ports import free_port
from nexthos_shared import engine
from nexthos_testing.field import Field

NAMESPACE = "bready"
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
HTTP = 'http: {{address: "127.0.0.1:{port}"}}\n'


@dataclass(frozen=True, slots=True)
class Scale:
    """How often."""

    pairs: int
    warm_ups: int


FULL, QUICK = Scale(pairs=30, warm_ups=2), Scale(pairs=5, warm_ups=1)


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds from the put, or from the spawn."""

    ready: float
    message: float
    running: float = 0.0  # until the stored status says so


async def measure(quick: bool, progress: Progress) -> list[Figure]:
    """Run it on ground of its own."""
    scale = QUICK if quick else FULL
    async with ground() as here, ended_after(here.controller(NAMESPACE)) as controller:
        await controller.start()
        field_ = here.field(NAMESPACE)
        await field_.js.add_stream(
            StreamConfig(name="bench", subjects=["bench.in.*"], storage=StorageType.MEMORY)
        )
        ours: list[Start] = []
        other: list[Start] = []
        for number in range(-scale.warm_ups, scale.pairs):
            progress(f"publish-ready: pair {number + 1} of {scale.pairs}")
            pair = await _pair(here, field_, number)
            if number >= 0:
                ours.append(pair[0])
                other.append(pair[1])
    return _figures(ours, other)


def _figures(ours: list[Start], other: list[Start]) -> list[Figure]:
    by_hand = "the engine, started by hand"
    ready = tuple(s.ready for s in other)
    return [
        Figure(
            "publish -> /ready, process",
            "s",
            tuple(s.ready for s in ours),
            ready,
            by_hand,
            Target(1.25, "ratio"),
        ),
        Figure(
            "publish -> first message out, process",
            "s",
            tuple(s.message for s in ours),
            tuple(s.message for s in other),
            by_hand,
        ),
        Figure(
            "publish -> status Running, process",
            "s",
            tuple(s.running for s in ours),
            ready,
            by_hand,
        ),
    ]


async def _pair(here: Ground, field_: Field, number: int) -> tuple[Start, Start]:
    """One of each, in turn first and second."""
    managed, bare = f"p{number + 100}", f"b{number + 100}"
    if number % 2:
        by_hand = await _by_hand(here, bare)
        return await _managed(field_, managed), by_hand
    return await _managed(field_, managed), await _by_hand(here, bare)


# ---- ours


@dataclass
class Heard:
    """What is heard of one pipeline on NATS, with the moment at which it was."""

    endpoint: asyncio.Future[str] = field(default_factory=asyncio.Future)
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
                _settle(self.endpoint, execution["endpoint"])
        if status["phase"] == "Running":
            _settle(self.running, now)

    async def output(self, msg: Msg) -> None:
        """What comes out of the pipeline."""
        _settle(self.message, time.perf_counter())


def _settle(future: asyncio.Future[Any], value: object) -> None:
    if not future.done():
        future.set_result(value)


async def _managed(field_: Field, key: str) -> Start:
    await field_.config(key, CONFIG.format(key=key))
    await field_.js.publish(f"bench.in.{key}", b"hello")
    bucket = await field_.pipelines()
    definition = json.dumps({"status": "published", "version": "1"}).encode()
    async with asyncio.timeout(WITHIN), _listening(field_, key) as heard:
        began = time.perf_counter()
        await bucket.put(key, definition)
        ready = await _until_ready(await heard.endpoint)
        start = Start(ready - began, await heard.message - began, await heard.running - began)
        await bucket.delete(key)
        await heard.gone
    await asyncio.sleep(REST)
    return start


@asynccontextmanager
async def _listening(field_: Field, key: str) -> AsyncIterator[Heard]:
    heard = Heard()
    nc, status = field_.nc, f"$KV.{field_.names.status}.{key}"
    async with AsyncExitStack() as stack:
        for subject, cb in ((status, heard.status), (f"bench.out.{key}", heard.output)):
            subscription = await nc.subscribe(subject, cb=cb)
            stack.push_async_callback(subscription.unsubscribe)
        await nc.flush()
        yield heard


async def _until_ready(endpoint: str) -> float:
    """The moment at which /ready answers 200. Endpoints stand below / too, whatever the root path."""
    async with engine.Readiness(endpoint, "") as probe:
        while True:
            if await probe.look() == "ready":
                return time.perf_counter()
            await asyncio.sleep(LOOK_EVERY)


# ---- the engine alone


async def _by_hand(here: Ground, key: str) -> Start:
    port = free_port(())
    file = here.folder / f"{key}.yaml"
    file.write_text(HTTP.format(port=port) + CONFIG.format(key=key))
    field_ = here.field(NAMESPACE)
    await field_.js.publish(f"bench.in.{key}", b"hello")
    argv = (await engine.profile_of(engine.locate_engine())).run_command(
        engine.locate_engine(), file
    )
    async with asyncio.timeout(WITHIN), _listening(field_, key) as heard:
        began = time.perf_counter()
        async with _spawned(argv, here.url, file.with_suffix(".log")):
            ready = await _until_ready(f"http://127.0.0.1:{port}")
            start = Start(ready - began, await heard.message - began)
    await asyncio.sleep(REST)
    return start


@asynccontextmanager
async def _spawned(argv: list[str], url: str, log: Path) -> AsyncIterator[None]:
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *argv,
            env={"PATH": os.defpath, "NATS_URL": url},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
