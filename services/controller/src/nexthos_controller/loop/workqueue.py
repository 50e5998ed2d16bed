"""The key queue: which pipeline is looked at next.

Comes in: keys, as often as anybody likes. Goes out: calls of `work(key)`, never two at once for one
key, never more than `bound` at once. It must not know what a key stands for.

- A key that is added while it waits is looked at once; while it is being worked on, once more after.
- Live keys (somebody changed something) go before calm ones (a resync, a boot).
- `work` returns seconds after which to look again, or None. If it raises, that key alone waits:
  longer each time, until it succeeds once. A live add does not wait for that.
- `calm()` outside lets live keys go first, for whoever has much to do that nobody waits for.
- `aside()` inside `work` gives the place to others during a long wait (a grace of 30 s must not keep
  15 other pipelines from starting).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import structlog

from nexthos_shared.errors import NexthosError, TerminalError

FIRST_BACKOFF = 0.5  # seconds
LAST_BACKOFF = 300.0  # seconds
TERMINAL_AHEAD = 3  # failures: one that is terminal is tried again after 4 s at first
LONGEST = 24 * 3600.0  # seconds between two looks

log = structlog.get_logger(__name__)


def backoff(failures: int) -> float:
    """Seconds to wait after that many failures in a row, with 20 % jitter."""
    delay = min(FIRST_BACKOFF * 2.0 ** min(failures - 1, 20), LAST_BACKOFF)
    return delay * random.uniform(0.8, 1.2)


class WorkQueue:
    """See the module. `async with queue:` works until it is left; then what runs is cancelled."""

    def __init__(
        self,
        work: Callable[[str], Awaitable[float | None]],
        *,
        bound: int = 16,
        backoff: Callable[[int], float] = backoff,
    ) -> None:
        self._work = work
        self._backoff = backoff
        self._places = asyncio.Semaphore(bound)
        self._live: deque[str] = deque()
        self._calm: deque[str] = deque()
        self._waiting: dict[str, bool] = {}  # key -> live; in one of the deques
        self._again: dict[str, bool] = {}  # added while being worked on
        self._active: dict[str, asyncio.Task[None]] = {}
        self._urgent: set[str] = set()  # live ones that wait or are worked on
        self._calm_again = asyncio.Event()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._failures: dict[str, int] = {}
        self._watchers: dict[str, list[asyncio.Future[None]]] = {}
        self._filled = asyncio.Event()
        self._dispatcher: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Keys that wait or are worked on; keys that wait for a timer don't count."""
        return len(self._waiting) + len(self._active)

    def add(self, key: str, *, live: bool = True) -> None:
        """Look at `key` as soon as there is a place."""
        if key in self._active:
            self._again[key] = self._again.get(key, False) or live
            return
        self._drop_timer(key)
        if self._waiting.get(key, False) or (key in self._waiting and not live):
            return
        # A calm key that becomes live stays in the calm deque too; it is skipped there later.
        self._waiting[key] = live
        if live:
            self._urgent.add(key)
        (self._live if live else self._calm).append(key)
        self._filled.set()

    def add_after(self, key: str, delay: float, *, live: bool = False) -> None:
        """Look at `key` in `delay` seconds, unless it is looked at before."""
        timer = self._timers.get(key)
        loop = asyncio.get_running_loop()
        # A timer that is no number would upset the loop's heap, and with it the timers of all others.
        delay = min(delay, LONGEST) if delay == delay else LAST_BACKOFF
        if timer is not None and timer.when() <= loop.time() + delay:
            return
        self._drop_timer(key)
        self._timers[key] = loop.call_later(delay, self._due, key, live)

    async def look(self, key: str) -> None:
        """Look at `key` now, and return when that look, begun after this call, has ended."""
        seen: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watchers.setdefault(key, []).append(seen)
        self.add(key)
        await seen

    async def calm(self, within: float) -> float:
        """Let others have their turn, and live keys be looked at first, for so many seconds at most.

        Returns the seconds that live keys took.
        """
        await asyncio.sleep(0)
        if not self._urgent or within <= 0:
            return 0.0
        began = time.monotonic()
        self._calm_again.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._calm_again.wait()
        return time.monotonic() - began

    @asynccontextmanager
    async def aside(self) -> AsyncIterator[None]:
        """Inside `work`: let others use the place during a long wait."""
        self._places.release()
        try:
            yield
        finally:
            await self._places.acquire()

    async def __aenter__(self) -> WorkQueue:
        self._dispatcher = asyncio.create_task(self._dispatch(), name="workqueue")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Work on nothing any more; what is being worked on is cancelled. Twice does no harm."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        tasks = [t for t in (self._dispatcher, *self._active.values()) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for watchers in self._watchers.values():
            for seen in watchers:
                seen.cancel()
        self._watchers.clear()

    def _due(self, key: str, live: bool) -> None:
        self._timers.pop(key, None)
        self.add(key, live=live)

    def _drop_timer(self, key: str) -> None:
        if timer := self._timers.pop(key, None):
            timer.cancel()

    async def _dispatch(self) -> None:
        while True:
            await self._filled.wait()
            await self._places.acquire()
            key = self._next()
            if key is None:
                self._places.release()
                self._filled.clear()
                continue
            self._active[key] = asyncio.create_task(self._process(key), name=f"reconcile {key}")

    def _next(self) -> str | None:
        """The next key; live ones first. Entries that were promoted or taken already are skipped."""
        for queue, live in ((self._live, True), (self._calm, False)):
            while queue:
                key = queue.popleft()
                if self._waiting.get(key) is live:
                    del self._waiting[key]
                    return key
        return None

    async def _process(self, key: str) -> None:
        watchers = self._watchers.pop(key, [])
        try:
            look_again = await self._work(key)
        except Exception as error:
            self._failed(key, error)
        else:
            self._failures.pop(key, None)
            if look_again is not None:
                self.add_after(key, look_again)
        finally:
            self._places.release()
            del self._active[key]
            self._urgent.discard(key)
            for seen in watchers:
                if not seen.done():
                    seen.set_result(None)
            if (live := self._again.pop(key, None)) is not None:
                self.add(key, live=live)
            if not self._urgent:
                self._calm_again.set()

    def _failed(self, key: str, error: Exception) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        # The same call fails the same way until somebody changes something, which mostly comes as a hint.
        ahead = TERMINAL_AHEAD if isinstance(error, TerminalError) else 0
        delay = self._backoff(failures + ahead)
        self.add_after(key, delay)
        if isinstance(error, NexthosError):
            log.warning(
                "reconcile failed",
                pipeline=key,
                reason=error.problem.reason,
                error=str(error),
                again_in=round(delay, 1),
            )
        else:
            log.exception(
                "reconcile failed: internal error", pipeline=key, again_in=round(delay, 1)
            )
