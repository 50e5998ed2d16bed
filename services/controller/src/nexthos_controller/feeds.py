"""What fills the queue: entries and objects as their watches bring them, hints of executors.

Goes out: keys, live ones for what somebody changed, calm ones for what is only looked at again.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from nexthos_controller.controller import Controller
from nexthos_controller.executors.base import Executor
from nexthos_shared.nats_client import Link
from nexthos_shared.stores import Store
from nexthos_shared.watch import Snapshot, watch, watch_configs

log = structlog.get_logger(__name__)


class Feeds:
    """What fills the queue: the watch on entries, the watch on objects, the executors' hints."""

    def __init__(self, controller: Controller, store: Store, link: Link, resync: float) -> None:
        self._controller = controller
        self._store = store
        self._link = link
        self._resync = resync
        self._tasks: list[asyncio.Task[None]] = []
        self._objects_known = asyncio.Event()
        self.caught_up = asyncio.Event()

    async def __aenter__(self) -> Feeds:
        feeds = [self._entries(), self._objects()]
        feeds += [self._hints(executor) for executor in self._controller.executors.values()]
        self._tasks = [asyncio.create_task(feed) for feed in feeds]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _entries(self) -> None:
        queue, desired = self._controller.queue, self._controller.desired
        await self._objects_known.wait()  # or a boot would ask for each object by itself
        async for item in watch(self._store.pipelines, self._link, resync=self._resync):
            keys, live = desired.take(item)
            if isinstance(item, Snapshot):
                keys |= set(desired.keys()) | self._controller.book.keys() | await self._owned()
            for key in keys:
                queue.add(key, live=live)
            self.caught_up.set()

    async def _owned(self) -> set[str]:
        """Pipelines of which something exists: their key may be gone."""
        owned: set[str] = set()
        for name, executor in self._controller.executors.items():
            try:
                async with asyncio.timeout(30.0):
                    owned |= {e.id for e in (await executor.list()).executions}
            except Exception as error:
                log.warning("executor did not list", executor=name, error=str(error))
        return owned

    async def _objects(self) -> None:
        facts, queue = self._controller.facts, self._controller.queue
        async for item in watch_configs(self._store.configs, self._link, resync=self._resync):
            if isinstance(item, Snapshot):
                first = not self._objects_known.is_set()
                changed = facts.replace(item.entries)
                self._objects_known.set()
                for key in () if first else changed:
                    queue.add(key)
            else:
                facts.change(item.entry)
                queue.add(item.entry.id)

    async def _hints(self, executor: Executor) -> None:
        with suppress(asyncio.CancelledError):
            async for key in executor.events():
                self._controller.queue.add(key)
