"""publish -> ready as a stream of a host that runs already, against the raw POST to another such host.

One pipeline from JetStream over a mapping to NATS, as for processes. Ours: the definition is put, its
configuration is stored. The other: its body is sent to a host that was started by hand. Both hosts are
asked for the stream's own readiness, at the same interval.

And the executor alone: its `start` against the same POST, without a store or a controller.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.engines import Host, host_by_hand, hosts_of
from benchmarks.extent import Extent
from benchmarks.figures import Figure, Target
from benchmarks.ground import Ground, Progress, ended_after, ground
from benchmarks.starts import (
    CONFIG,
    LOOK_EVERY,
    REST,
    WITHIN,
    Heard,
    Start,
    add_stream,
    figures,
    listening,
    managed,
)
from nexthos_controller.execution import Owner, Spec
from nexthos_controller.executors.contract import Connection, LocalContext, ReplicaExecutor
from nexthos_controller.executors.streams import StreamsExecutor
from nexthos_shared import names
from nexthos_shared.engine import locate_engine
from nexthos_shared.model import Pipeline
from nexthos_testing.field import Field

NAMESPACE = "bstreams"
CREATE_REST = 0.02  # seconds
RAW = "the raw POST to a host started by hand"


@dataclass(frozen=True, slots=True)
class Scale:
    """How often."""

    pairs: int
    warm_ups: int
    creates: int


SCALES = {
    Extent.QUICK: Scale(pairs=5, warm_ups=1, creates=10),
    Extent.USUAL: Scale(pairs=21, warm_ups=2, creates=100),
    Extent.FULL: Scale(pairs=61, warm_ups=2, creates=500),
}


async def measure(extent: Extent, progress: Progress) -> list[Figure]:
    """Run it on ground of its own."""
    scale = SCALES[extent]
    ours: list[Start] = []
    other: list[Start] = []
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(ground())
        controller = here.controller(NAMESPACE, "streams")
        await stack.enter_async_context(ended_after(controller))
        raw = await stack.enter_async_context(host_by_hand(here.folder, here.url))
        await controller.start()
        field_ = here.field(NAMESPACE)
        await add_stream(field_)
        await _lodger(here, field_, raw)
        [found] = hosts_of(controller.state_dir)
        host = await stack.enter_async_context(found)
        for number in range(-scale.warm_ups, scale.pairs):
            progress(f"publish-ready-streams: pair {number + 1} of {scale.pairs}")
            pair = await _pair(here, field_, host, raw, number)
            if number >= 0:
                ours.append(pair[0])
                other.append(pair[1])
        await controller.kill()
        progress(f"publish-ready-streams: {scale.creates} creations")
        created = await _creations(here, raw, scale.creates)
    return [*figures("streams", None, RAW, ours, other), *created]


async def _lodger(here: Ground, field_: Field, raw: Host) -> None:
    """A stream that stays in either host, so that neither is started or ended while it is measured."""
    await field_.config("lodger", CONFIG.format(key="lodger"))
    await field_.put("lodger")
    await field_.reaches("lodger", "Running")
    await raw.create("lodger", _body("lodger", here.url))


def _body(key: str, url: str) -> bytes:
    """The other has no environment of its own for each stream: the URL stands in it."""
    return CONFIG.format(key=key).replace("${NATS_URL}", url).encode()


async def _pair(
    here: Ground, field_: Field, host: Host, raw: Host, number: int
) -> tuple[Start, Start]:
    """One of each, in turn first and second."""
    key, bare = f"p{number + 100}", f"b{number + 100}"
    if number % 2:
        by_hand = await _posted(here, field_, raw, bare)
        return await _managed(here, field_, host, key), by_hand
    return await _managed(here, field_, host, key), await _posted(here, field_, raw, bare)


async def _managed(here: Ground, field_: Field, host: Host, key: str) -> Start:
    async def ready_at(_: Heard) -> float:
        return await _until_ready(host, await _name(here.folder / NAMESPACE, key))

    return await managed(field_, key, ready_at)


async def _name(state: Path, key: str) -> str:
    """The stream's, told by its folder: that is there before the stream is."""
    while True:
        for folder in os.listdir(state / "streams"):
            if folder.startswith(f"{NAMESPACE}-{key}-0-"):
                return folder
        await asyncio.sleep(LOOK_EVERY)


async def _posted(here: Ground, field_: Field, raw: Host, key: str) -> Start:
    body = _body(key, here.url)
    await field_.js.publish(f"bench.in.{key}", b"hello")
    async with asyncio.timeout(WITHIN), listening(field_, key) as heard:
        began = time.perf_counter()
        await raw.create(key, body)
        ready = await _until_ready(raw, key)
        start = Start(ready - began, await heard.message - began)
        await raw.delete(key)
    await asyncio.sleep(REST)
    return start


async def _until_ready(host: Host, name: str) -> float:
    while True:
        if await host.is_ready(name):
            return time.perf_counter()
        await asyncio.sleep(LOOK_EVERY)


# ---- the executor alone


async def _creations(here: Ground, raw: Host, count: int) -> list[Figure]:
    configs: dict[str, bytes] = {}

    async def fetch(spec: Spec) -> bytes:
        return configs[spec.digest]

    context = LocalContext(
        owner=Owner(NAMESPACE, "alone"),
        fetch=fetch,
        engines={"default": locate_engine()},
        connections={"default": Connection(here.url)},
        state_dir=here.folder / "alone",
    )
    whole: list[float] = []
    prepared: list[float] = []
    other: list[float] = []
    async with StreamsExecutor(context) as executor:
        await executor.start(_spec("first", configs), 0)  # starts the host
        for number in range(count):
            specs = [_spec(f"{kind}{number}", configs) for kind in "wp"]
            await executor.prepare(specs[1], 0)
            body = _body(f"r{number}", here.url)
            turns = [
                (whole, executor.start(specs[0], 0)),
                (other, raw.create(f"r{number}", body)),
                (prepared, executor.start(specs[1], 0)),
            ]
            for kept, act in turns if number % 2 else reversed(turns):
                began = time.perf_counter()
                await act
                kept.append(time.perf_counter() - began)
                await asyncio.sleep(CREATE_REST)
            await _ended(executor, raw, specs, f"r{number}")
    what, target = "streams executor, create", Target(1.5, "ratio")
    return [
        Figure(what, "s", tuple(whole), tuple(other), RAW, target),
        Figure(f"{what} of a prepared one", "s", tuple(prepared), tuple(other), RAW),
    ]


def _spec(key: str, configs: dict[str, bytes]) -> Spec:
    content = CONFIG.format(key=key).encode()
    pipeline = Pipeline.model_validate({"status": "published", "version": "1"}, strict=False)
    digest = names.digest_of(content)
    configs[digest] = content
    return Spec(key, 1, pipeline.spec_hash(digest), digest, "streams", pipeline)


async def _ended(executor: ReplicaExecutor, raw: Host, specs: list[Spec], name: str) -> None:
    """So that both hosts stay as full as they were."""
    await raw.delete(name)
    for spec in specs:
        for execution in (await executor.find(spec.id)).executions:
            await executor.stop(execution, 5.0)
            await executor.remove(execution)
