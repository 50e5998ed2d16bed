"""Messages per second through a managed pipeline, against the same engine and configuration by hand.

JetStream in, a mapping, JetStream out. The input is filled before; a run lasts until its last message is in
the output stream. The rate is taken from the times at which the server stored the first and the last
message of the output, so neither a start nor a look at a clock here is in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nats.js.api import StorageType, StreamConfig

from benchmarks.engines import by_hand, command
from benchmarks.extent import Extent
from benchmarks.figures import Figure, Target
from benchmarks.ground import Ground, Progress, ended_after, ground
from nexthos_controller.executors.shared.ports import free_port
from nexthos_testing.field import Field
from nexthos_testing.wait import eventually

NAMESPACE = "bflow"
INPUT, OUTPUT = "bench-in", "bench-out"
WITHIN = 120.0  # seconds for one run
REST = 0.3  # seconds between two runs
AT_ONCE = 500  # messages between two flushes while the input is filled
MESSAGE = b'{"name": "orders", "number": 12345, "words": "%s"}' % (b"x" * 200)

CONFIG = """\
input:
  nats_jetstream:
    urls: ["${{NATS_URL}}"]
    stream: bench-in
    subject: bench.flow.in
    durable: {key}
    deliver: all
    max_ack_pending: 4096
pipeline:
  processors:
    - mapping: 'root = this.assign({{"seen": true}})'
output:
  nats_jetstream:
    urls: ["${{NATS_URL}}"]
    subject: bench.flow.out
    max_in_flight: 1024
"""


@dataclass(frozen=True, slots=True)
class Scale:
    """How many messages, and how often."""

    messages: int
    pairs: int


SCALES = {
    Extent.QUICK: Scale(messages=500, pairs=1),
    Extent.USUAL: Scale(messages=20_000, pairs=5),
    Extent.FULL: Scale(messages=100_000, pairs=9),
}


async def measure(extent: Extent, progress: Progress) -> list[Figure]:
    """Run it on ground of its own, as a process and as a stream."""
    scale = SCALES[extent]
    rates: dict[str, list[float]] = {"process": [], "streams": [], "by hand": []}
    async with ground() as here:
        controller = here.controller(NAMESPACE, "process", "streams")
        async with ended_after(controller):
            await controller.start()
            field = here.field(NAMESPACE)
            await _fill(field, scale.messages)
            for number in range(-1, scale.pairs):  # the first one warms up, and is not kept
                progress(f"throughput: round {number + 1} of {scale.pairs}")
                for how in list(rates) if number % 2 else reversed(rates):
                    key = f"{how.replace(' ', '-')}-{number + 1}"
                    rate = await _run(here, field, how, key, scale.messages)
                    if number >= 0:
                        rates[how].append(rate)
    return [
        Figure(
            f"messages per second, {how}",
            "/s",
            tuple(rates[how]),
            tuple(rates["by hand"]),
            "the engine, started by hand",
            Target(0.98, "ratio", at_least=True),
        )
        for how in ("process", "streams")
    ]


async def _fill(field: Field, messages: int) -> None:
    memory = StorageType.MEMORY
    for name, subject in ((INPUT, "bench.flow.in"), (OUTPUT, "bench.flow.out")):
        await field.js.add_stream(StreamConfig(name=name, subjects=[subject], storage=memory))
    for number in range(messages):
        await field.nc.publish("bench.flow.in", MESSAGE)
        if number % AT_ONCE == 0:
            await field.nc.flush()
    await eventually(lambda: _holds(field, INPUT, messages), within=WITHIN)


async def _holds(field: Field, stream: str, messages: int) -> bool:
    return int((await field.js.stream_info(stream)).state.messages) >= messages


async def _run(here: Ground, field: Field, how: str, key: str, messages: int) -> float:
    """Messages per second."""
    await field.js.purge_stream(OUTPUT)
    await field.config(key, CONFIG.format(key=key))
    way = _engine(here, key) if how == "by hand" else _managed(field, key, how)
    async with way:
        await eventually(lambda: _holds(field, OUTPUT, messages), within=WITHIN, every=0.05)
        state = (await field.js.stream_info(OUTPUT)).state
    await field.js.delete_consumer(INPUT, key)
    first, last = [await _stored_at(field, seq) for seq in (state.first_seq, state.last_seq)]
    await asyncio.sleep(REST)
    return (int(state.messages) - 1) / (last - first).total_seconds()


async def _stored_at(field: Field, sequence: int) -> datetime:
    when: Any = (await field.js.get_msg(OUTPUT, sequence)).time
    assert isinstance(when, datetime)
    return when


@asynccontextmanager
async def _managed(field: Field, key: str, executor: str) -> AsyncIterator[None]:
    await field.put(key, executor=executor)
    yield
    await field.delete(key)
    await eventually(lambda: _gone(field, key), within=30.0)


async def _gone(field: Field, key: str) -> bool:
    return await field.status(key) is None


@asynccontextmanager
async def _engine(here: Ground, key: str) -> AsyncIterator[None]:
    file = here.folder / f"{key}.yaml"
    http = f'http: {{address: "127.0.0.1:{free_port(())}"}}\n'
    file.write_text(http + CONFIG.format(key=key))
    async with by_hand(await command(file), here.url, file.with_suffix(".log")):
        yield
