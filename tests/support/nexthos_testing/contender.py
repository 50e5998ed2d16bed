"""Contenders for the lease in the test's own process, and what can be asked of one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from unittest.mock import AsyncMock

from nexthos_controller.election.lease import Lease, boottime
from nexthos_shared.errors import LeaseLost
from nexthos_shared.names import LEASE_KEY
from nexthos_shared.store import Bucket, Store
from nexthos_testing.wait import eventually

TTL = 1.0  # seconds
CALM = 3.0  # seconds, where a busy machine must not cost the lease


@dataclass
class Contender:
    """A lease that is acquired and kept again and again, as a controller does it."""

    lease: Lease
    task: asyncio.Task[None]

    @property
    def held(self) -> bool:
        return self.lease.held

    async def die(self) -> None:
        """As by kill -9: nothing is released."""
        self.lease.release = AsyncMock()  # type: ignore[method-assign]
        await self.end()

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def contend(lease: Lease) -> None:
    while True:
        await lease.acquire()
        async with lease.kept():
            await lease.lost.wait()


@asynccontextmanager
async def contender(bucket: Bucket, name: str, ttl: float = TTL) -> AsyncIterator[Contender]:
    lease = Lease(bucket, name, ttl)
    one = Contender(lease, asyncio.create_task(contend(lease)))
    try:
        yield one
    finally:
        await one.end()


@asynccontextmanager
async def two_of(store: Store, ttl: float = TTL) -> AsyncIterator[tuple[Contender, Contender]]:
    """One that has it, and one that waits for it."""
    async with contender(store.control, "first", ttl) as first:
        await eventually(lambda: first.held)
        async with contender(store.control, "second", ttl) as second:
            yield first, second


async def acquired(
    store: Store, name: str, ttl: float = TTL, clock: Callable[[], float] = boottime
) -> Lease:
    lease = Lease(store.control, name, ttl, clock)
    await lease.acquire()
    return lease


async def renewed(store: Store, times: int = 1) -> None:
    """Wait for that many renewals of whatever is there."""
    before = await revision(store)

    async def there() -> bool:
        return await revision(store) >= before + times

    await eventually(there)


async def revision(store: Store) -> int:
    entry = await store.control.get(LEASE_KEY)
    return entry.revision if entry else 0


async def who_has(lease: Lease) -> str | None:
    claim = await lease.holder()
    return claim.holder if claim else None


def refuses(lease: Lease) -> bool:
    try:
        lease.guard()
    except LeaseLost:
        return True
    return False
