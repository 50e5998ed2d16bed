"""Puts, and the moments at which the executor is called for them.

Each put makes a new pipeline whose configuration is stored already. It is timed from just before it is
sent, in this process, to the call in the controller's, by the system's monotonic clock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from nats.aio.msg import Msg

from benchmarks import stored
from benchmarks.ground import Ground

WITHIN = 300.0  # seconds
REST = 0.03  # seconds after one that was answered: the controller writes a status and events


@dataclass(frozen=True, slots=True)
class Put:
    """When it was sent, and after how many seconds the executor was called."""

    at: float
    took: float


class Puts:
    """Those of one namespace."""

    def __init__(self, here: Ground, namespace: str) -> None:
        self._here = here
        self._namespace = namespace
        self._called: dict[str, asyncio.Future[float]] = {}

    async def hear(self, message: Msg) -> None:
        """A call of the executor."""
        called = self._called.get(message.subject.rpartition(".")[2])
        if called is not None and not called.done():
            called.set_result(float(message.data))

    async def one_by_one(self, name: str, count: int) -> list[Put]:
        """Each after the one before was acted on, with a rest between."""
        puts = []
        for key in await self._stored(name, count):
            puts.append(await self._acted_on(key, await self._send(key)))
            await asyncio.sleep(REST)
        return puts

    async def at_rate(self, name: str, count: int, rate: float) -> list[Put]:
        """So many each second, whatever becomes of them; then wait for all."""
        keys = await self._stored(name, count)
        began, sent = time.monotonic(), []
        for number, key in enumerate(keys):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            sent.append(await self._send(key))
        return [await self._acted_on(key, at) for key, at in zip(keys, sent, strict=True)]

    async def _stored(self, name: str, count: int) -> list[str]:
        keys = [f"{name}-{number}" for number in range(count)]
        for key in keys:
            self._called[key] = asyncio.get_running_loop().create_future()
            await stored.store(self._here, self._namespace, key)
        await self._here.nc.flush()
        await asyncio.sleep(
            0.5
        )  # the controller tells nobody of an object that it saw before its entry
        return keys

    async def _send(self, key: str) -> float:
        at = time.monotonic()
        await stored.put(self._here, self._namespace, key)
        return at

    async def _acted_on(self, key: str, at: float) -> Put:
        async with asyncio.timeout(WITHIN):
            return Put(at, await self._called[key] - at)


@asynccontextmanager
async def puts_into(here: Ground, namespace: str, called: str) -> AsyncIterator[Puts]:
    """`called` is the subject below which the executor's calls are told."""
    puts = Puts(here, namespace)
    subscription = await here.nc.subscribe(f"{called}.*", cb=puts.hear)
    try:
        await here.nc.flush()
        yield puts
    finally:
        await subscription.unsubscribe()
