"""Waiting for a condition, with a deadline and a message that shows what was last seen."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any


async def eventually(check: Callable[[], Any], *, within: float = 10.0, every: float = 0.01) -> Any:
    """Call `check` (plain or async) until it returns something truthy, and return that.

    Raises AssertionError with the last value after `within` seconds.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while True:
        seen = check()
        if inspect.isawaitable(seen):
            seen = await seen
        if seen:
            return seen
        assert loop.time() < deadline, f"not within {within:g} s; last seen: {seen!r}"
        await asyncio.sleep(every)
