"""publish -> ready: from putting a definition to its engine's readiness, against the engine alone.

One pipeline from JetStream over a mapping to NATS. Ours: the definition is put, its configuration is
stored already. The other: the same binary and configuration, started by hand. Both are asked by the
same probe at the same interval, and both have the same message waiting, so the first that comes out
tells a second time, without any probe, when a pipeline works.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure, Target
from benchmarks.ground import Ground, Progress, ended_after, ground
from benchmarks.starts import (
    CONFIG,
    REST,
    WITHIN,
    Start,
    add_stream,
    figures,
    listening,
    managed,
    until_ready,
)
from nexthos_controller.executors.ports import free_port
from nexthos_shared import engine
from nexthos_testing.field import Field

NAMESPACE = "bready"
HTTP = 'http: {{address: "127.0.0.1:{port}"}}\n'


@dataclass(frozen=True, slots=True)
class Scale:
    """How often."""

    pairs: int
    warm_ups: int


FULL, QUICK = Scale(pairs=30, warm_ups=2), Scale(pairs=5, warm_ups=1)


async def measure(quick: bool, progress: Progress) -> list[Figure]:
    """Run it on ground of its own."""
    scale = QUICK if quick else FULL
    async with ground() as here, ended_after(here.controller(NAMESPACE)) as controller:
        await controller.start()
        field_ = here.field(NAMESPACE)
        await add_stream(field_)
        ours: list[Start] = []
        other: list[Start] = []
        for number in range(-scale.warm_ups, scale.pairs):
            progress(f"publish-ready: pair {number + 1} of {scale.pairs}")
            pair = await _pair(here, field_, number)
            if number >= 0:
                ours.append(pair[0])
                other.append(pair[1])
    return figures("process", Target(1.25, "ratio"), "the engine, started by hand", ours, other)


async def _pair(here: Ground, field_: Field, number: int) -> tuple[Start, Start]:
    """One of each, in turn first and second."""
    key, bare = f"p{number + 100}", f"b{number + 100}"
    if number % 2:
        by_hand = await _by_hand(here, bare)
        return await managed(field_, key), by_hand
    return await managed(field_, key), await _by_hand(here, bare)


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
    async with asyncio.timeout(WITHIN), listening(field_, key) as heard:
        began = time.perf_counter()
        async with _spawned(argv, here.url, file.with_suffix(".log")):
            ready = await until_ready(f"http://127.0.0.1:{port}")
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
