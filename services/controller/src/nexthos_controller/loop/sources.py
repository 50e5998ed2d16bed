"""What fills the queue: entries and objects as their watches bring them, hints of executors, the time.

Goes out: keys, live ones for what somebody changed, calm ones for what is only looked at again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import structlog

from nexthos_controller.cache.executions import list_all
from nexthos_controller.executors.contract import Executor
from nexthos_controller.loop.brokers import Brokers
from nexthos_controller.loop.other_installations import Strangers
from nexthos_controller.loop.reconciler import Controller
from nexthos_controller.telemetry.instruments import Instruments
from nexthos_shared.backoff import jittered
from nexthos_shared.errors import NexthosError
from nexthos_shared.model.control import abandoned_key, abandoned_place
from nexthos_shared.names import INSTALLATION_KEY
from nexthos_shared.nats.connection import Link
from nexthos_shared.nats.skips import Behind
from nexthos_shared.store import Store
from nexthos_shared.store.watch import Snapshot, watch, watch_configs

LOOK_FOR_BUCKETS = 5.0  # seconds
BEGIN_AGAIN = 1.0  # seconds
WORKS = 5.0  # seconds without a defect
AT_ONCE = 20  # pipelines compared before others have their turn, some 0.4 ms
# A put that met a resync of 200 ms waited a dozen turns of 0.2 ms for its start.
GIVE_WAY = 0.02  # seconds, each time
GIVE_WAY_IN_ALL = 1.0  # seconds: under hundreds of puts a second nothing would be compared

log = structlog.get_logger(__name__)


class Sources:
    """What fills the queue: the watch on entries, the watch on objects, the executors' hints."""

    def __init__(
        self,
        controller: Controller,
        store: Store,
        link: Link,
        resync: float,
        instruments: Instruments,
        installation: str,
    ) -> None:
        self._controller = controller
        self._store = store
        self._link = link
        self._resync = resync
        self._instruments = instruments
        self._installation = installation
        self._tasks: list[asyncio.Task[None]] = []
        self._objects_known = asyncio.Event()
        self._entries_known = False  # before that, whatever runs would look orphaned
        self.caught_up = asyncio.Event()
        self.displaced = asyncio.Event()  # the store says now that it is another one
        self.strangers = Strangers(controller.executors, resync)
        self.missing: list[str] = []  # buckets of the store that do not exist at the moment

    async def __aenter__(self) -> Sources:
        sources: list[Callable[[], Awaitable[None]]] = [
            self._entries,
            self._objects,
            self._statuses,
            self._abandoned,
            self._keep_installation,
            self._look_for_buckets,
            self._reconnects,
            self._look_again,
            Brokers(self._controller).watch,
            self.strangers.watch,
        ]
        executors = self._controller.executors.values()
        sources += [partial(self._hints, executor) for executor in executors]
        self._tasks = [asyncio.create_task(self._for_ever(feed)) for feed in sources]
        self._tasks.append(asyncio.create_task(self._note_until_caught_up()))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _entries(self) -> None:
        queue, desired = self._controller.queue, self._controller.desired
        await self._objects_known.wait()  # or a boot would ask for each object by itself
        async for item in watch(self._store.pipelines, self._link, resync=self._resync):
            if isinstance(item, Snapshot):
                changed = desired.replace(item)
                self._entries_known = True
                self._look_first_at(changed)
                await self._look_at_all()
                self.caught_up.set()
            elif desired.change(item.entry):
                queue.add(item.entry.key)

    def _look_at(self, key: str, *, live: bool = True) -> None:
        """Unless the entries are to come yet, with which everything is looked at."""
        if self._entries_known:
            self._controller.queue.add(key, live=live)

    def _look_first_at(self, keys: Iterable[str]) -> None:
        """Before everything is compared; the first time these are everything."""
        for key in keys if self.caught_up.is_set() else ():
            self._controller.queue.add(key, live=False)

    async def _look_again(self) -> None:
        """Each `resync` seconds at everything: hints of executors may be lost."""
        await self.caught_up.wait()
        while True:
            await asyncio.sleep(jittered(self._resync))
            with self._instruments.resync():
                await self._look_at_all()

    async def _look_at_all(self) -> None:
        """At each pipeline of which anything is known, unless it is at rest."""
        controller = self._controller
        there = await list_all(controller.executors)
        await self._answers_again(there.places)
        keys = {*controller.desired.keys(), *controller.statuses.keys(), *there.ids()}
        patience = GIVE_WAY_IN_ALL
        for number, key in enumerate(keys):
            if number % AT_ONCE == 0:
                patience -= await controller.queue.calm(min(GIVE_WAY, patience))
            if not controller.is_unchanged(key, there):
                controller.queue.add(key, live=False)

    async def _statuses(self) -> None:
        """While this controller acts its own copy rules: what others write is written over."""
        queue, known = self._controller.queue, self._controller.statuses
        await self.caught_up.wait()
        statuses = self._store.statuses
        async for item in watch(statuses, self._link, values=False, resync=self._resync):
            for key in known.saw(item):
                queue.add(key, live=False)

    async def _abandoned(self) -> None:
        """Places that somebody declared gone; whose word is taken back when the place answers."""
        control, known = self._store.control, dict[str, bool]()
        async for item in watch(
            control, self._link, pattern=abandoned_key(">"), resync=self._resync
        ):
            if isinstance(item, Snapshot):
                known.clear()
            for entry in item.entries if isinstance(item, Snapshot) else (item.entry,):
                if (place := abandoned_place(entry.key)) is not None:
                    known[place] = entry.value is not None
            now = frozenset(place for place, is_gone in known.items() if is_gone)
            if now != self._controller.abandoned:
                log.warning("places declared gone", places=sorted(now))
                self._controller.abandoned = now
                for key in sorted(self._controller.statuses.keys()):
                    self._look_at(key, live=False)

    async def _keep_installation(self) -> None:
        """The key that says which store this is: written again where it was deleted, else never believed.

        What runs was made under the id that the term began with, so until its end nothing comes twice.
        """
        control = self._store.control
        items = watch(control, self._link, pattern=INSTALLATION_KEY, resync=self._resync)
        async for item in items:
            for entry in item.entries if isinstance(item, Snapshot) else (item.entry,):
                if entry.value is None:
                    with suppress(NexthosError):
                        await self._store.installation(self._installation)
                elif entry.value != self._installation.encode():
                    self.displaced.set()

    async def _note_until_caught_up(self) -> None:
        """For /readyz: a term that never gets so far acts on nothing."""
        with behind(self._link, "the term", "it has not caught up with what is stored"):
            await self.caught_up.wait()

    async def _reconnects(self) -> None:
        while True:
            await self._link.wait_reconnect(self._link.reconnects)
            self._controller.reconnected()

    async def _look_for_buckets(self) -> None:
        """Say it when a bucket is gone, and when it is back. Nothing is created or removed for that."""
        while True:
            with suppress(NexthosError):
                missing = await self._store.missing()
                if missing != self.missing:
                    log.warning("buckets of the store are missing", buckets=missing)
                self.missing = missing
            await asyncio.sleep(LOOK_FOR_BUCKETS)

    async def _answers_again(self, places: Iterable[str]) -> None:
        """A place that answers is not gone, whatever was declared."""
        for place in self._controller.abandoned & set(places):
            log.warning("a place that was declared gone answers", place=place)
            with suppress(NexthosError):
                await self._store.control.delete(abandoned_key(place))

    async def _objects(self) -> None:
        facts = self._controller.facts
        async for item in watch_configs(self._store.configs, self._link, resync=self._resync):
            if isinstance(item, Snapshot):
                first = not self._objects_known.is_set()
                changed = facts.replace(item.entries)
                self._objects_known.set()
                for key in () if first else changed:
                    self._look_at(key)
            else:
                facts.change(item.entry)
                self._look_at(item.entry.id)

    async def _hints(self, executor: Executor) -> None:
        async for key in executor.events():
            self._look_at(key)

    async def _for_ever(self, feed: Callable[[], Awaitable[None]]) -> None:
        """A feed that ends by a defect begins again: without it changes would wait for the next resync."""
        name = f"the feed {getattr(feed, '__name__', 'of hints')}"
        noted, loop = self._link.behind, asyncio.get_running_loop()
        try:
            while True:
                works = loop.call_later(WORKS, noted.pop, name, None)
                try:
                    await feed()
                except Exception as error:
                    log.exception("a feed ended by a defect")
                    words = (
                        f"a defect of nexthos ({type(error).__name__}); see the controller's log"
                    )
                    noted.setdefault(name, Behind(time.monotonic(), words))
                finally:
                    works.cancel()
                await asyncio.sleep(BEGIN_AGAIN)
        finally:
            noted.pop(name, None)


@contextmanager
def behind(link: Link, name: str, why: str) -> Iterator[None]:
    """Note that something does not get on, while this is entered."""
    link.behind[name] = Behind(time.monotonic(), why)
    try:
        yield
    finally:
        link.behind.pop(name, None)
