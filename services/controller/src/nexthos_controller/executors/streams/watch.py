"""Watching one host: what of its streams runs and is connected, in two questions for all of them.

Comes in: the host's answers. Goes out: readiness, ends and finds, noted in the records. Starts nothing.

A host that does not answer says nothing of its streams; one that never does again would hide them for
ever. So after a bounded time of asking in vain it is killed, frozen or not, and they are known to have
ended. Only what was asked and not answered counts, and no gap between two looks: neither a controller
that was frozen itself nor one that has no more files may take that for the host's silence.

The host is asked often while one of its streams is young or not connected, and seldom else. A stream that
is there and inactive has ended by itself. One that its record says runs here, and that the host does not
know at two looks, is gone. One that nobody wants here is deleted: a leftover, a twin, or one whose
folder was removed by hand.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

import structlog

from nexthos_controller.execution import Exit
from nexthos_controller.executors.local.unread import Unread, entries_of
from nexthos_controller.executors.shared.delivery import EVERY
from nexthos_controller.executors.shared.hints import Hints
from nexthos_controller.executors.streams.api import NotOurs, Silent
from nexthos_controller.executors.streams.endings import Endings
from nexthos_controller.executors.streams.handle import HostId, Life
from nexthos_controller.executors.streams.hosts import Host
from nexthos_controller.executors.streams.metrics import split
from nexthos_controller.executors.streams.record import Record
from nexthos_controller.executors.streams.stock import Stock
from nexthos_controller.telemetry.engine_metrics import read_figures
from nexthos_shared.backoff import jittered
from nexthos_shared.errors import NexthosError
from nexthos_shared.reasons import Problem, Reason

log = structlog.get_logger(__name__)

FIRST_PAUSE = 0.003  # seconds
LAST_PAUSE = 2.0  # seconds
SHARE = 4  # times as long as a look takes is the least pause: 250 streams make an answer of 20 kB
LOOK_WITHIN = 2.0  # seconds
SILENT_AFTER = 1.0  # seconds without an answer, and more than one look
DEAD_AFTER = (
    20.0  # seconds without an answer until a host is killed: a creation may hold it that long
)
BROKEN_AFTER = 3.0  # seconds, where it broke off creating a stream, and may have kept its lock


class Watch:
    """Of one host, for as long as it runs."""

    def __init__(
        self,
        host: Host,
        stock: Stock,
        endings: Endings,
        hints: Hints,
        guard: Callable[[], None],
    ) -> None:
        self._host = host
        self._stock = stock
        self._endings = endings
        self._hints = hints
        self._guard = guard
        self._since = time.monotonic()
        self._wake = asyncio.Event()
        self._silent_since: float | None = None
        self._mute = 0.0  # seconds that it was asked in vain
        self._looked_at = time.monotonic()
        self._missing: set[str] = set()
        self._strays: set[str] = set()
        self._looking = asyncio.Lock()
        self._unread = Unread(host.log)
        self._count_at = 0.0

    def wake(self) -> None:
        """Look soon, and often: something is about to change."""
        self._since = time.monotonic()
        self._wake.set()

    async def run(self) -> None:
        """Look for ever."""
        while True:
            began = time.monotonic()
            try:
                await self.look()
                if self._is_dead():
                    await self._endings.put_down(self._host)
            except NexthosError as error:
                number = self._host.handle.number
                log.warning("a host that is silent can't be ended", host=number, why=str(error))
            except Exception:
                log.exception("looking at a host failed", host=self._host.handle.number)
            took = time.monotonic() - began
            self._wake.clear()
            try:
                rest = 0.0 if self._host.unanswered else SHARE * took
                async with asyncio.timeout(max(self._pause(), rest)):
                    await self._wake.wait()
                await asyncio.sleep(rest)
            except TimeoutError:
                pass

    def _pause(self) -> float:
        calm = time.monotonic() - self._since
        if self._silent_since is not None:
            return SILENT_AFTER / 4
        if self._host.strays:
            return FIRST_PAUSE
        if all(r.ready for r in self._stock.on(self._host.id)) and not self._host.placing:
            return jittered(LAST_PAUSE, 0.1)
        return min(max(calm / 20, FIRST_PAUSE), LAST_PAUSE)

    async def look(self) -> None:
        """One look, and what follows from it."""
        if self._host.starting:
            return
        async with self._looking:
            before = [(r, r.uid) for r in self._stock.on(self._host.id)]
            since, self._looked_at = self._looked_at, time.monotonic()
            try:
                async with asyncio.timeout(LOOK_WITHIN):
                    there = await self._host.api.streams()
                    unconnected = await self._unconnected(there)
            except (Silent, NotOurs, TimeoutError) as error:
                now = time.monotonic()
                if not (
                    isinstance(error, NotOurs) or (isinstance(error, Silent) and error.unasked)
                ):
                    self._mute += min(now - since, LOOK_WITHIN + SILENT_AFTER)
                self._looked_at = now
                self._no_answer(now)
                return
            self._looked_at = time.monotonic()
            self._silent_since, self._mute = None, 0.0
            self._host.silent, self._host.unanswered, self._host.answered = False, False, True
            lodgers = [r for r, uid in before if r.uid == uid and r.running and not r.busy]
            self._hear(lodgers)
            await self._count(lodgers)
            await self._ready(lodgers, there, unconnected)
            await self._over(lodgers, there)
            await self._unwanted(there)

    async def _unconnected(self, there: dict[str, bool]) -> frozenset[str]:
        found = await self._host.api.unconnected()
        if found is None:
            asked = [name for name, active in there.items() if active]
            found = frozenset([n for n in asked if not (await self._host.api.detail(n))[0]])
        return found

    def _is_dead(self) -> bool:
        """Whether it was asked in vain for so long that it is not waited for any more."""
        bound = BROKEN_AFTER if self._host.broken else DEAD_AFTER
        return self._host.silent and self._mute >= bound and not self._host.over.is_set()

    def _no_answer(self, now: float) -> None:
        self._host.unanswered = True
        if self._silent_since is None:
            self._silent_since = now
        if now - self._silent_since < SILENT_AFTER or self._host.silent or self._host.over.is_set():
            return
        self._host.silent = True
        log.warning("a host does not answer", host=self._host.handle.number)
        for record in self._stock.on(self._host.id):
            record.ready, record.problem = None, None
            self._hints.add(record.handle.id)

    # ---- what follows

    async def _ready(
        self, lodgers: Iterable[Record], there: dict[str, bool], unconnected: frozenset[str]
    ) -> None:
        for record in lodgers:
            name, uid = record.handle.name, record.uid
            if not there.get(name):
                continue
            connected = name not in unconnected
            if connected:
                record.said = ""
            elif not record.said:
                try:
                    _, record.said = await self._host.api.detail(name)
                except (Silent, NotOurs):
                    continue
            now = time.monotonic()
            ready, problem = record.heard.verdict(connected, record.said, now)
            silent = (record.delivery.problem,) if record.delivery.problem else ()
            found = (ready, problem, (*record.heard.erring(now), *silent))
            if found == (record.ready, record.problem, record.symptoms):
                continue
            if record.uid == uid and record.running:
                if ready != record.ready:
                    self._since = now
                record.ready, record.problem, record.symptoms = found
                self._hints.add(record.handle.id)

    async def _count(self, lodgers: Iterable[Record]) -> None:
        """What it has counted for its streams, seldom, and in one question for all."""
        now = time.monotonic()
        if now < self._count_at:
            return
        self._count_at = now + jittered(EVERY, 0.1)
        try:
            async with asyncio.timeout(LOOK_WITHIN):
                # Not by `host.metrics`: what an ending stream asks for must not be older than its end.
                parts = split(await self._host.api.metrics())
        except (Silent, NotOurs, TimeoutError):
            return
        for record in lodgers:
            try:
                figures = read_figures(parts.get(record.handle.name, ""))
            except ValueError:
                continue
            if figures is not None:
                record.delivery.take(figures.count.received, figures.count.sent, now)

    def _hear(self, lodgers: Iterable[Record]) -> None:
        """What the host has logged since, for all of its streams at once."""
        by_name = {r.handle.name: r for r in lodgers}
        now = time.monotonic()
        for entry in entries_of(self._unread.lines()):
            record = by_name.get(str(entry.get("stream")))
            if record is not None:
                record.heard.take((entry,), now)

    async def _over(self, lodgers: Iterable[Record], there: dict[str, bool]) -> None:
        missing = {r.handle.name for r in lodgers if r.handle.name not in there}
        for record in lodgers:
            life, name = record.handle.life, record.handle.name
            if life is None or record.busy or not record.running:
                continue
            if there.get(name) is False:
                await self._endings.conclude(record, life, Exit(0, life.stopping))
            elif name in missing & self._missing:
                exit = Exit(0, True) if life.stopping else Exit(None, False, _gone(self._host))
                await self._endings.conclude(record, life, exit)
        self._missing = missing

    async def _unwanted(self, there: dict[str, bool]) -> None:
        strays: set[str] = set()
        untold: set[str] = set()
        for name, active in there.items():
            record = self._stock.named(name)
            if record is not None and self._is_at_home(record):
                continue
            try:
                self._stock.refresh(record.handle.id if record else "")
                record = self._stock.named(name)
            except NexthosError:
                continue
            if record is None:
                lost = not (self._stock.is_foreign(name) or self._stock.is_damaged(name))
                if lost:
                    untold.add(name)
                if name in self._strays and lost:
                    await self._delete(name)
                strays.add(name)
            elif not self._is_at_home(record):
                await self._unexpected(record, active)
        self._strays, self._host.strays = strays, untold

    def _is_at_home(self, record: Record) -> bool:
        life = record.handle.life
        here = life is not None and life.host == self._host.id
        return bool(record.busy) or (record.running and here)

    async def _unexpected(self, record: Record, active: bool) -> None:
        """It is here, and its record says that it does not run, or runs elsewhere."""
        handle = record.handle
        life = handle.creating
        if life is None and handle.life is None and active:  # its handle was damaged
            life = Life(self._host.id, handle.starts, time.time(), log_offset=0)
        if not record.running and life is not None and life.host == self._host.id:
            begun = handle.begun(life)
            self._stock.know(record, begun)
            record.begin(begun)
            self._hints.add(handle.id)
        else:
            await self._delete(handle.name)

    async def _delete(self, name: str) -> None:
        try:
            self._guard()
            log.info("a stream that nobody wants", name=name, host=self._host.handle.number)
            await self._host.api.delete(name)
        except (Silent, NotOurs, NexthosError):
            return


class Watches:
    """Of all hosts."""

    def __init__(
        self, stock: Stock, endings: Endings, hints: Hints, guard: Callable[[], None]
    ) -> None:
        self._given = (stock, endings, hints, guard)
        self._watches: dict[HostId, Watch] = {}
        self._tasks: dict[HostId, asyncio.Task[None]] = {}

    def begin(self, host: Host) -> None:
        """Look at a host that was found or started, until it is over."""
        watch = self._watches[host.id] = Watch(host, *self._given)
        self._tasks[host.id] = asyncio.create_task(self._run(host, watch), name="host watch")

    async def _run(self, host: Host, watch: Watch) -> None:
        looking = asyncio.create_task(watch.run())
        try:
            await host.over.wait()
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            self._watches.pop(host.id, None)
            self._tasks.pop(host.id, None)

    def wake(self, host: Host) -> None:
        """Something is new there."""
        if (watch := self._watches.get(host.id)) is not None:
            watch.wake()

    async def look(self, hosts: Iterable[Host]) -> None:
        """At all of them, now."""
        found = [self._watches[h.id] for h in hosts if h.id in self._watches]
        await asyncio.gather(*(watch.look() for watch in found))

    async def close(self) -> None:
        """Look no more."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _gone(host: Host) -> Problem:
    words = (
        f"host {host.handle.number} runs, and no longer has this stream: somebody deleted it there"
    )
    return Problem(Reason.KILLED, words)
