"""The daemon's events, over its restarts and ours, taken as hints.

Comes in: what happens to containers with our labels. Goes out: which container it concerns, or that
anything may have happened meanwhile. The daemon is asked again from the last event on; what it has
forgotten by then is found by looking at everything once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable

import structlog

from nexthos_controller.executors.docker.daemon import Daemon
from nexthos_controller.executors.docker.labels import PIPELINE
from nexthos_shared.backoff import Backoff
from nexthos_shared.errors import ExecutorUnreachable
from nexthos_shared.untrusted_json import whole

AGAIN = Backoff(0.1, 2.0)  # seconds between two attempts to listen

log = structlog.get_logger(__name__)


class Watch:
    """Listens for ever. `changed(container, pipeline)` for each event, `missed()` after each gap."""

    def __init__(
        self,
        daemon: Daemon,
        labels: Iterable[str],
        changed: Callable[[str, str], None],
        missed: Callable[[], None],
    ) -> None:
        self._daemon = daemon
        self._labels = tuple(labels)
        self._changed = changed
        self._missed = missed
        self._since = 0  # nanoseconds, of the last event
        self.listens = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        failures, told = 0, False
        while True:
            try:
                await self._listen()
                failures, told = 0, False
            except ExecutorUnreachable as error:
                if not told:
                    log.warning("lost the Docker event stream", error=str(error))
                    self._missed()  # whoever looks now learns that it is away, not a minute later
                told = True
            failures += 1
            await asyncio.sleep(AGAIN.after(failures))

    async def _listen(self) -> None:
        async with contextlib.aclosing(self._daemon.events(self._labels, self._since)) as events:
            async for event in events:
                if not event:
                    self.listens.set()
                    self._missed()
                    continue
                self._since = max(self._since, whole(event.get("timeNano"), 2**63) or 0)
                attributes = (event.get("Actor") or {}).get("Attributes") or {}
                self._changed(str(event.get("id", "")), str(attributes.get(PIPELINE, "")))
