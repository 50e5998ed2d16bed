"""publish -> ready: from putting a definition to its engine's readiness, against the engine alone.

One pipeline from JetStream over a mapping to NATS. Ours: the definition is put, its configuration is
stored already. The other: the same binary and configuration, started by hand. Both are asked by the
same probe at the same interval, and both have the same message waiting, so the first that comes out
tells a second time, without any probe, when a pipeline works.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.engines import by_hand, command
from benchmarks.extent import Extent
from benchmarks.figures import Figure, Target
from benchmarks.ground import Ground, Progress, ended_after, ground
from benchmarks.starts import (
    CONFIG,
    REST,
    WITHIN,
    Start,
    add_stream,
    engine_ready,
    figures,
    listening,
    managed,
    until_ready,
)
from nexthos_controller.executors.shared.ports import free_port
from nexthos_testing.field import Field

NAMESPACE = "bready"
HTTP = 'http: {{address: "127.0.0.1:{port}"}}\n'


@dataclass(frozen=True, slots=True)
class Scale:
    """How often."""

    pairs: int
    warm_ups: int


SCALES = {
    Extent.QUICK: Scale(pairs=5, warm_ups=1),
    Extent.USUAL: Scale(pairs=21, warm_ups=2),
    Extent.FULL: Scale(pairs=61, warm_ups=2),
}


async def measure(extent: Extent, progress: Progress) -> list[Figure]:
    """Run it on ground of its own."""
    scale = SCALES[extent]
    async with ground() as here, ended_after(here.controller(NAMESPACE)) as controller:
        await controller.start()
        field_ = here.field(NAMESPACE)
        await add_stream(field_)
        ours: list[Start] = []
        other: list[Start] = []
        for number in range(-scale.warm_ups, scale.pairs):
            progress(f"publish-ready: pair {number + 1} of {scale.pairs}")
            pair = await _pair(here, field_, number, controller.state_dir)
            if number >= 0:
                ours.append(pair[0])
                other.append(pair[1])
    return figures("process", Target(1.25, "ratio"), "the engine, started by hand", ours, other)


async def _pair(here: Ground, field_: Field, number: int, state_dir: Path) -> tuple[Start, Start]:
    """One of each, in turn first and second."""
    key, bare = f"p{number + 100}", f"b{number + 100}"
    ready = engine_ready(lambda name: (state_dir / "executions" / name / "password").read_text())
    if number % 2:
        by_hand = await _by_hand(here, bare)
        return await managed(field_, key, ready), by_hand
    return await managed(field_, key, ready), await _by_hand(here, bare)


# ---- the engine alone


async def _by_hand(here: Ground, key: str) -> Start:
    port = free_port(())
    file = here.folder / f"{key}.yaml"
    file.write_text(HTTP.format(port=port) + CONFIG.format(key=key))
    field_ = here.field(NAMESPACE)
    await field_.js.publish(f"bench.in.{key}", b"hello")
    argv = await command(file)
    async with asyncio.timeout(WITHIN), listening(field_, key) as heard:
        began = time.perf_counter()
        async with by_hand(argv, here.url, file.with_suffix(".log")):
            ready = await until_ready(f"http://127.0.0.1:{port}")
            start = Start(ready - began, await heard.message - began)
    await asyncio.sleep(REST)
    return start
