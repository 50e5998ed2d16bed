"""What a controller costs by the number of stored pipelines, and how soon a put is acted on.

The executor is the fake one, so all of it is the controller's own. Each size is a process and a server of
its own. `boot` is from taking part to nothing left to do, with every pipeline started for the first time.
A put is timed from just before it is sent, in this process, to the call of the executor in the other, by
the clock of the system.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

from nats.aio.msg import Msg

from benchmarks.figures import Figure, Target
from benchmarks.ground import Ground, Progress, ground
from benchmarks.scale_child import CALLED
from nexthos_shared.names import Names
from nexthos_shared.nats_client import ConnectOptions, connect
from nexthos_shared.stores import Store
from nexthos_testing.wait import eventually

NAMESPACE = "bscale"
SIZES, QUICK_SIZES, FULL_SIZES = (1_000, 10_000), (200,), (1_000, 10_000, 50_000)
PUTS, QUICK_PUTS = 300, 20
PER_SECOND = 50  # puts while it is busy
WITHIN = 600.0  # seconds for one command
MIB = 1024 * 1024
ROOT = Path(__file__).parents[1]
CONFIG = b"input: {generate: {interval: 60s, mapping: 'root = 1'}}\noutput: {drop: {}}\n"


async def measure(quick: bool, progress: Progress) -> list[Figure]:
    """At 1,000 and 10,000 stored pipelines."""
    return await _at(QUICK_SIZES if quick else SIZES, QUICK_PUTS if quick else PUTS, progress)


async def measure_full(quick: bool, progress: Progress) -> list[Figure]:
    """At 50,000 too."""
    return await _at(QUICK_SIZES if quick else FULL_SIZES, QUICK_PUTS if quick else PUTS, progress)


async def _at(sizes: tuple[int, ...], puts: int, progress: Progress) -> list[Figure]:
    figures: list[Figure] = []
    for size in sizes:
        async with ground() as here:
            progress(f"scale: storing {size:,} pipelines")
            await _fill(here, size)
            async with _child(here) as child:
                figures += await _one(here, child, size, puts, progress)
    return figures


async def _one(
    here: Ground, child: Child, size: int, puts: int, progress: Progress
) -> list[Figure]:
    progress(f"scale: boot with {size:,}")
    boot = await child.do("boot")
    if boot["running"] != size:
        raise RuntimeError(f"{boot['running']} of {size} run")
    progress(f"scale: resync and puts with {size:,}")
    resync = await child.do("resync")
    idle = await child.do("idle 10")
    rest = [await _put(here, f"new-{n}") for n in range(puts)]
    busy = await _busy(here, puts)
    what = f"{size:,} stored: "
    of_the_plan = size == 10_000  # architecture.md's table
    return [
        Figure(
            f"{what}boot to converged",
            "s",
            (boot["wall"],),
            target=Target(2.0, "ours") if of_the_plan else None,
        ),
        Figure(f"{what}boot, CPU", "s", (boot["cpu"],)),
        Figure(
            f"{what}resync, CPU",
            "s",
            (resync["cpu"],),
            target=Target(0.3, "ours") if of_the_plan else None,
        ),
        Figure(f"{what}idle, CPU in 10 s", "s", (idle["cpu"],)),
        Figure(
            f"{what}memory, MiB",
            "count",
            (round(boot["rss"] / MIB),),
            target=Target(120, "ours") if of_the_plan else None,
        ),
        Figure(
            f"{what}put -> executor",
            "s",
            tuple(rest),
            target=Target(0.002, "ours") if of_the_plan else None,
        ),
        Figure(
            f"{what}put -> executor, p99",
            "s",
            (_p99(rest),),
            target=Target(0.015, "ours") if of_the_plan else None,
        ),
        Figure(f"{what}put -> executor at {PER_SECOND}/s", "s", tuple(busy)),
        Figure(f"{what}put -> executor at {PER_SECOND}/s, p99", "s", (_p99(busy),)),
    ]


def _p99(values: list[float]) -> float:
    return quantiles(values, n=100, method="inclusive")[-1]


# ---- the store


async def _fill(here: Ground, size: int) -> None:
    """As the `nats` CLI stores them, without waiting for each."""
    options = ConnectOptions(here.url)
    async with connect(options, name="bench", daemon=False) as link:
        await Store.open(link, Names(NAMESPACE), create=True)
    for number in range(size):
        await _store(here, f"p{number:06d}")
        if number % 200 == 0:
            await here.nc.flush()
    stream = f"KV_{NAMESPACE}-pipelines"
    for number in range(size):
        await here.nc.publish(f"$KV.{NAMESPACE}-pipelines.p{number:06d}", _definition(number))
        if number % 500 == 0:
            await here.nc.flush()
    await eventually(lambda: _holds(here, stream, size), within=WITHIN, every=0.05)


async def _holds(here: Ground, stream: str, size: int) -> bool:
    return bool((await here.nc.jetstream().stream_info(stream)).state.messages >= size)


async def _store(here: Ground, key: str) -> None:
    """A configuration object: its one chunk and its meta."""
    nuid, name = secrets.token_hex(11), f"{key}/1"
    digest = base64.urlsafe_b64encode(hashlib.sha256(CONFIG).digest()).decode()
    meta = {
        "name": name,
        "bucket": f"{NAMESPACE}-configs",
        "nuid": nuid,
        "size": len(CONFIG),
        "mtime": "2026-01-01T00:00:00Z",
        "chunks": 1,
        "digest": f"SHA-256={digest}",
        "options": {"max_chunk_size": 128 * 1024},
    }
    encoded = base64.urlsafe_b64encode(name.encode()).decode()
    await here.nc.publish(f"$O.{NAMESPACE}-configs.C.{nuid}", CONFIG)
    await here.nc.publish(f"$O.{NAMESPACE}-configs.M.{encoded}", json.dumps(meta).encode())


def _definition(number: int) -> bytes:
    entry = {
        "status": "published",
        "version": "1",
        "name": f"Pipeline {number}",
        "description": "One of many, with as much said of it as people usually say",
        "labels": {"team": "a", "number": str(number)},
        "env": {"REGION": "eu", "SHARD": str(number)},
        "update": {"strategy": "recreate", "ready_timeout": "30s"},
    }
    return json.dumps(entry).encode()


# ---- puts


async def _put(here: Ground, key: str) -> float:
    """Seconds until the executor was called for it."""
    called: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def hear(message: Msg) -> None:
        if not called.done():
            called.set_result(float(message.data))

    subscription = await here.nc.subscribe(f"{CALLED}.{key}", cb=hear)
    await _store(here, key)
    await here.nc.flush()
    began = time.monotonic()
    await here.nc.publish(f"$KV.{NAMESPACE}-pipelines.{key}", _definition(0))
    try:
        async with asyncio.timeout(WITHIN):
            return await called - began
    finally:
        await subscription.unsubscribe()


async def _busy(here: Ground, puts: int) -> list[float]:
    """The same, while so many come each second."""
    pending = []
    for number in range(puts):
        pending.append(asyncio.create_task(_put(here, f"busy-{number}")))
        await asyncio.sleep(1 / PER_SECOND)
    return list(await asyncio.gather(*pending))


# ---- the other process


class Child:
    """The controller's process, told what to do."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def do(self, command: str) -> dict[str, Any]:
        """Its answer. Raises RuntimeError if it ended instead."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\n".encode())
        async with asyncio.timeout(WITHIN):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the controller ended during {command}")
        return dict(json.loads(line))


@asynccontextmanager
async def _child(here: Ground) -> AsyncIterator[Child]:
    module = ("-m", "benchmarks.scale_child", here.url, NAMESPACE, str(here.folder / "state"))
    with (here.folder / "child.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *module,
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    try:
        yield Child(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
