"""Ending a life: SIGTERM, the grace, SIGKILL; aimed at that life, and no other in the same container."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from nexthos_controller.executors.docker.daemon import Daemon, Gone
from nexthos_controller.executors.docker.stock import Stock
from nexthos_shared.errors import StillRunning

KILL_WITHIN = 10.0  # seconds for SIGKILL to work
LOOK_AGAIN = 0.5  # seconds; an event comes within a millisecond, but may be lost


async def end(
    daemon: Daemon,
    stock: Stock,
    container: str,
    uid: str,
    grace: float,
    guard: Callable[[], None],
) -> bool:
    """Whether it ended within `grace` seconds by itself. Raises StillRunning if it outlives SIGKILL."""
    record = await stock.look(container)
    if record is not None and record.life is not None and record.life.frozen:
        guard()
        await daemon.unpause(container)
    if not await _signal(daemon, stock, container, uid, "SIGTERM", guard):
        return True
    if await _over(stock, container, uid, grace):
        return True
    if not await _signal(daemon, stock, container, uid, "SIGKILL", guard):
        return True
    if await _over(stock, container, uid, KILL_WITHIN):
        return False
    raise StillRunning(f"container {container[:12]} outlives SIGKILL")


async def _signal(
    daemon: Daemon, stock: Stock, container: str, uid: str, signal: str, guard: Callable[[], None]
) -> bool:
    """Whether that life was there to be signalled, as far as the daemon said just before."""
    if await _ended(stock, container, uid):
        return False
    guard()
    with contextlib.suppress(Gone):
        await daemon.kill(container, signal)
    return True


async def _over(stock: Stock, container: str, uid: str, within: float) -> bool:
    """Whether that life ends within so many seconds."""
    try:
        async with asyncio.timeout(within):
            while not await _ended(stock, container, uid):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_AGAIN):
                        await stock.change_of(container)
    except TimeoutError:
        return await _ended(stock, container, uid)
    return True


async def _ended(stock: Stock, container: str, uid: str) -> bool:
    record = await stock.look(container)
    life = record.life if record is not None else None
    return life is None or not life.running or life.uid != uid
