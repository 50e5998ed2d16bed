"""The status book: what is remembered and reported of each pipeline, and the only writer of it.

Comes in: statuses to remember (before an effect) or to report (after it). Goes out: the bucket
`<ns>-status`, by compare-and-set. The copy here rules while this controller acts: a foreign write or
deletion is overwritten. It must not know what a phase means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from operator import itemgetter

import structlog

from nexthos_controller.cache.executions import NOWHERE, Whereabouts
from nexthos_controller.status.events import EventLog
from nexthos_controller.status.outline import Outline
from nexthos_controller.status.pages import Page, Understood
from nexthos_controller.telemetry.instruments import Instruments
from nexthos_shared.errors import NotPermitted, StoreConflict, StoreRefused
from nexthos_shared.model import Memory, Phase, PipelineStatus
from nexthos_shared.reasons import Problem
from nexthos_shared.store import Bucket, KvEntry
from nexthos_shared.store.watch import Change, Snapshot

SPACING = 1.0  # seconds between two reports of one pipeline whose phase stays the same
ATTEMPTS = 5  # compare-and-set against a foreign writer, before the queue's backoff takes over

log = structlog.get_logger(__name__)


class StatusBook:
    """The statuses of one namespace, held in memory and written through."""

    def __init__(
        self,
        bucket: Bucket,
        controller: str,
        now: Callable[[], float],
        events: EventLog,
        guard: Callable[[], None],
        instruments: Instruments,
    ) -> None:
        self._instruments = instruments
        self._bucket = bucket
        self._guard = guard
        self._events = events
        self._controller = controller
        self._now = now
        self._pages: dict[str, Page] = {}
        self.refused: dict[str, Problem] = {}  # why what is known of a pipeline can't be stored
        self._understood = Understood()
        self._watchers: dict[str, list[asyncio.Future[None]]] = {}

    async def load(self) -> None:
        """Take over what is stored; called once, before anything is decided."""
        self._pages = dict(await self._bucket.each(self._page_of))

    def _page_of(self, entry: KvEntry) -> tuple[str, Page]:
        return entry.key, self._understood.page(entry.revision, entry.value)

    def keys(self) -> set[str]:
        """Pipelines of which a status is stored."""
        return {key for key, page in self._pages.items() if page.packed is not None}

    def statuses(self) -> Iterable[tuple[str, PipelineStatus]]:
        """All statuses with their ids, in order; each is understood anew, which takes some 50 us."""
        for key, page in sorted(self._pages.items(), key=itemgetter(0)):
            if (status := self._understood.afresh(key, page)) is not None:
                yield key, status

    def outlines(self) -> dict[str, Outline]:
        """All statuses in brief, by id. For any thread, as the one of /metrics."""
        for page in list(self._pages.values()):
            self._understood.outline(page)
        return self.looked_at()

    def looked_at(self) -> dict[str, Outline]:
        """The statuses in brief of which somebody asked before."""
        pages = list(self._pages.items())
        return {key: page.outline for key, page in pages if page.outline is not None}

    def status(self, key: str) -> PipelineStatus | None:
        """The last status, or None."""
        page = self._pages.get(key)
        return self._understood.of(key, page) if page else None

    def outline(self, key: str) -> Outline | None:
        """The last status in brief, or None."""
        page = self._pages.get(key)
        return self._understood.outline(page) if page else None

    def whereabouts(self, key: str) -> Whereabouts:
        """Where something of a pipeline may be."""
        outline = self.outline(key)
        return outline.whereabouts if outline else NOWHERE

    def stamp(self, key: str) -> tuple[int, bool]:
        """Another whenever what is stored of a pipeline is, or may be, another."""
        page = self._pages.get(key)
        return (page.revision, page.is_stored) if page else (0, False)

    def memory(self, key: str) -> Memory:
        """What is remembered of a pipeline; empty if it was never looked at."""
        status = self.status(key)
        return status.memory if status else Memory()

    def saw(self, item: Snapshot[KvEntry] | Change[KvEntry]) -> set[str]:
        """Take note of what the bucket holds; returns keys that may have to be written again.

        What is written here is seen too, at times before its acknowledgement: then whether it was
        somebody else's is found out when that comes.
        """
        if isinstance(item, Change):
            page = self._pages.get(item.entry.key)
            if page is None:
                return set()
            page.seen = max(page.seen, item.entry.revision)
            return set() if page.is_stored or page.writing else {item.entry.key}
        if item.changed_identity:  # all that was written here is gone, and revisions begin anew
            for page in self._pages.values():
                page.revision, page.seen, page.lost = 0, 0, True
        listed = {e.key: e.revision for e in item.entries}
        newest = max(listed.values(), default=0)
        for key, page in self._pages.items():
            page.seen = max(page.seen, listed.get(key, 0))
            page.lost = key not in listed and (newest == 0 or page.revision <= newest)
        return {key for key, p in self._pages.items() if p.packed is not None and not p.is_stored}

    async def changed(self, key: str) -> None:
        """Return when the next status of `key` is written or forgotten."""
        change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        watchers = self._watchers.setdefault(key, [])
        watchers.append(change)
        try:
            await change
        finally:
            watchers.remove(change)
            if not watchers:
                self._watchers.pop(key, None)

    def _announce(self, key: str) -> None:
        for change in self._watchers.get(key, ()):
            if not change.done():
                change.set_result(None)

    async def remember(self, key: str, status: PipelineStatus) -> None:
        """Write before an effect, unless this very memory and phase are stored already.

        The phase too: a deletion changes no memory, and its drain may take a while.
        """
        old = self.status(key)
        told = old is not None and (old.memory, old.phase) == (status.memory, status.phase)
        if not told or not self._pages[key].is_stored:
            await self._write(key, status)

    async def report(self, key: str, status: PipelineStatus) -> float | None:
        """Write after an effect if something other than the time changed.

        A change of phase or memory is written at once, other changes at most once a second; then
        the seconds after which to come again are returned. At once, where somebody else wrote meanwhile.
        """
        page = self._pages.setdefault(key, Page())
        old = self.status(key)
        told = old is not None and page.is_stored and _same(old, status)
        if told:
            return None
        quiet = old is not None and (old.phase, old.memory) == (status.phase, status.memory)
        wait = page.reported_at + SPACING - self._now()
        if quiet and wait > 0:
            return wait
        await self._write(key, status)
        page.reported_at = self._now()
        return None if page.is_stored else 0.0

    async def forget(self, key: str) -> None:
        """Delete the status of a pipeline that is gone, if there is one."""
        before, page = self.status(key), self._pages.pop(key, None)
        self.refused.pop(key, None)
        if page is not None and before is not None:
            try:  # gone here first: who sees the key gone must not get an answer about it any more
                self._guard()
                await self._bucket.delete(key)
            except BaseException:
                self._pages[key] = page
                raise
            log.info("forgotten", pipeline=key)
            self._events.forgot(key, before, page.revision)
        self._announce(key)

    async def _write(self, key: str, status: PipelineStatus) -> None:
        status = status.model_copy(
            update={"updated_at": self._now(), "controller": self._controller}
        )
        page, before = self._pages.setdefault(key, Page()), self.status(key)
        value = status.model_dump_json(by_alias=True, exclude_none=True).encode()
        page.writing = True
        try:
            await self._store(key, page, value)
            self.refused.pop(key, None)
        except (StoreRefused, NotPermitted) as error:
            self.refused[key] = error.problem
            raise
        finally:
            page.writing = False
        if before is None or before.phase is not status.phase:
            _tell(key, before, status)
        self._events.wrote(key, before, status, page.revision)
        self._understood.write(key, page, value, status)
        self._announce(key)

    async def _store(self, key: str, page: Page, value: bytes) -> None:
        """By compare-and-set, whatever somebody else wrote since."""
        for attempt in range(ATTEMPTS):
            # Before each attempt: a leader that was frozen must not overwrite what the next one wrote.
            self._guard()
            try:
                page.revision = await self._bucket.update(key, value, page.revision)
                page.lost = False
                self._instruments.status_writes.inc()
                return
            except StoreConflict:
                if attempt == ATTEMPTS - 1:
                    raise
                stored = await self._bucket.get(key)
                new, page.revision = page.revision == 0, stored.revision if stored else 0
                page.seen, page.lost = page.revision, True  # not ours, until a write succeeds
                if new and (stored is None or stored.value is None):
                    continue  # the marker of a pipeline of that name, which was forgotten here
                self._instruments.status_conflicts.inc()
                log.warning("status overwritten by somebody else, put right", pipeline=key)


def _tell(key: str, before: PipelineStatus | None, status: PipelineStatus) -> None:
    complaint = status.complaint
    log.info(
        "phase",
        pipeline=key,
        phase=str(status.phase),
        before=str(before.phase) if before else None,
        version=status.version,
        reason=str(complaint.reason) if complaint else None,
        message=complaint.message if complaint and status.phase is not Phase.STARTING else None,
    )


def _same(old: PipelineStatus, new: PipelineStatus) -> bool:
    """Equal but for who wrote it, and when."""
    both = {"updated_at": 0.0, "controller": ""}
    return {**dict(old), **both} == {**dict(new), **both}
