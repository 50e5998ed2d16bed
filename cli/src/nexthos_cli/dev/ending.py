"""The end: who asks for it, and how engines are ended.

Comes in: signals. Goes out: no engine. The first request lets engines drain for a grace that is capped
here, whatever their `stop_timeout`; the second ends them, and all waiting, at once.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from nexthos_controller.embedded import Execution, ReplicaExecutor, Stopped

GRACE = 3.0  # seconds that engines get to drain, whatever their stop_timeout
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """The end was asked for while something was still being started."""


@dataclass(slots=True)
class End:
    """Somebody asked for the end: once to drain, twice to kill."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    twice: asyncio.Event = field(default_factory=asyncio.Event)
    _starting: asyncio.Task[object] | None = None

    def ask(self) -> None:
        """A signal arrived."""
        if self.asked.is_set():
            self.twice.set()
            return
        self.asked.set()
        if self._starting is not None:
            self._starting.cancel()

    def hang_up(self) -> None:
        """The terminal was closed. The kernel, a shell and each failed write say so: it is one request."""
        if not self.asked.is_set():
            self.ask()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take signals as such requests. SIGHUP too, which `nohup` has ignored: that stays so."""
        loop = asyncio.get_running_loop()
        handlers = dict.fromkeys(SIGNALS, self.ask)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            handlers[signal.SIGHUP] = self.hang_up
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """What is awaited in here is cancelled by the first request: starting may wait for ever.

        Raises Interrupted then, after whatever was entered has been left again.
        """
        if self.asked.is_set():
            raise Interrupted
        task = self._starting = asyncio.current_task()
        try:
            yield
        except asyncio.CancelledError:
            if task is None or not self.asked.is_set():
                raise
            task.uncancel()
            raise Interrupted from None
        finally:
            self._starting = None


async def stop_all(
    executor: ReplicaExecutor, executions: Sequence[Execution], end: End, say: Callable[[str], None]
) -> None:
    """End them all: within GRACE, or at once when `end` is asked for twice."""
    if not executions:
        return
    stops = [asyncio.create_task(executor.stop(e, GRACE)) for e in executions]
    twice = asyncio.create_task(end.twice.wait())
    try:
        pending: set[asyncio.Task[Stopped]] = set(stops)
        while pending and not twice.done():
            done, _ = await asyncio.wait([*pending, twice], return_when=asyncio.FIRST_COMPLETED)
            pending -= {task for task in stops if task in done}
    finally:
        for task in (twice, *stops):
            task.cancel()
        results = await asyncio.gather(twice, *stops, return_exceptions=True)
    left = [e for e, r in zip(executions, results[1:], strict=True) if isinstance(r, BaseException)]
    if not left:
        return
    say(f"killing what still runs: {', '.join(sorted(e.id for e in left))}")
    kills = (executor.stop(e, 0.0) for e in left)
    for execution, outcome in zip(
        left, await asyncio.gather(*kills, return_exceptions=True), strict=True
    ):
        if isinstance(outcome, BaseException):
            say(f"error: pipeline {execution.id} still runs ({execution.uid}): {outcome}")
