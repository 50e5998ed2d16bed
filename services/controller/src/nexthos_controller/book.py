"""The status book: what is remembered and reported of each pipeline, and the only writer of it.

Comes in: statuses to remember (before an effect) or to report (after it). Goes out: the bucket
`<ns>-status`, by compare-and-set. The copy here rules while this controller acts: a foreign write or
deletion is overwritten. It must not know what a phase means.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog
from pydantic import ValidationError

from nexthos_controller.eventlog import EventLog
from nexthos_controller.instruments import Instruments
from nexthos_shared.errors import StoreConflict
from nexthos_shared.models import Memory, Phase, PipelineStatus
from nexthos_shared.stores import Bucket, KvEntry
from nexthos_shared.watch import Change, Snapshot

SPACING = 1.0  # seconds between two reports of one pipeline whose phase stays the same
ATTEMPTS = 5  # compare-and-set against a foreign writer, before the queue's backoff takes over

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Page:
    """What is known to be stored of one pipeline."""

    revision: int  # as last written or read here
    status: PipelineStatus | None  # None: nothing, a marker, or something unreadable
    reported_at: float = float("-inf")
    seen: int = 0  # as the watch brought it: larger than `revision` if somebody else wrote
    lost: bool = False  # it is not in the bucket any more

    @property
    def is_stored(self) -> bool:
        """Whether the bucket holds this status, as far as is known."""
        return not self.lost and self.seen <= self.revision


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
        self._watchers: dict[str, list[asyncio.Future[None]]] = {}

    def load(self, entries: Iterable[KvEntry]) -> None:
        """Take over what is stored; called once, before anything is decided."""
        self._pages = {e.key: Page(e.revision, _read(e)) for e in entries}

    def keys(self) -> set[str]:
        """Pipelines of which a status is stored."""
        return {key for key, page in self._pages.items() if page.status is not None}

    def statuses(self) -> dict[str, PipelineStatus]:
        """All statuses, by id."""
        # Also read by the thread that renders /metrics.
        return {key: p.status for key, p in list(self._pages.items()) if p.status is not None}

    def status(self, key: str) -> PipelineStatus | None:
        """The last status, or None."""
        page = self._pages.get(key)
        return page.status if page else None

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

        What is written here is seen too, at times before its acknowledgement: only the next look at
        the key, which waits for that write, can say whether it was somebody else's.
        """
        if isinstance(item, Change):
            page = self._pages.get(item.entry.key)
            if page is None:
                return set()
            page.seen = max(page.seen, item.entry.revision)
            return set() if page.is_stored else {item.entry.key}
        if item.changed_identity:  # all that was written here is gone, and revisions begin anew
            for page in self._pages.values():
                page.revision, page.seen, page.lost = 0, 0, True
        listed = {e.key: e.revision for e in item.entries}
        newest = max(listed.values(), default=0)
        for key, page in self._pages.items():
            page.seen = max(page.seen, listed.get(key, 0))
            page.lost = key not in listed and (newest == 0 or page.revision <= newest)
        return {key for key, p in self._pages.items() if p.status is not None and not p.is_stored}

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
        the seconds after which to come again are returned.
        """
        page = self._pages.setdefault(key, Page(0, None))
        old = page.status
        if old is not None and page.is_stored and _same(old, status):
            return None
        quiet = old is not None and (old.phase, old.memory) == (status.phase, status.memory)
        wait = page.reported_at + SPACING - self._now()
        if quiet and wait > 0:
            return wait
        await self._write(key, status)
        page.reported_at = self._now()
        return None

    async def forget(self, key: str) -> None:
        """Delete the status of a pipeline that is gone, if there is one."""
        page = self._pages.pop(key, None)
        if page is not None and page.status is not None:
            try:  # gone here first: who sees the key gone must not get an answer about it any more
                self._guard()
                await self._bucket.delete(key)
            except BaseException:
                self._pages[key] = page
                raise
            log.info("forgotten", pipeline=key)
            self._events.forgot(key, page.status, page.revision)
        self._announce(key)

    async def _write(self, key: str, status: PipelineStatus) -> None:
        status = status.model_copy(
            update={"updated_at": self._now(), "controller": self._controller}
        )
        page = self._pages.setdefault(key, Page(0, None))
        value = status.model_dump_json(by_alias=True, exclude_none=True).encode()
        for attempt in range(ATTEMPTS):
            # Before each attempt: a leader that was frozen must not overwrite what the next one wrote.
            self._guard()
            try:
                page.revision = await self._bucket.update(key, value, page.revision)
                page.lost = False
                self._instruments.status_writes.inc()
                break
            except StoreConflict:
                self._instruments.status_conflicts.inc()
                if attempt == ATTEMPTS - 1:
                    raise
                stored = await self._bucket.get(key)
                page.revision = page.seen = stored.revision if stored else 0
                page.lost = True  # what is there is not ours, until a write succeeds
                log.warning("status overwritten by somebody else, put right", pipeline=key)
        if page.status is None or page.status.phase is not status.phase:
            _tell(key, page.status, status)
        self._events.wrote(key, page.status, status, page.revision)
        page.status = status
        self._announce(key)


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
    """Equal but for who wrote it and when."""
    return old.model_copy(update={"updated_at": 0.0, "controller": ""}) == new.model_copy(
        update={"updated_at": 0.0, "controller": ""}
    )


def _read(entry: KvEntry) -> PipelineStatus | None:
    if entry.value is None:
        return None
    try:
        return PipelineStatus.model_validate_json(entry.value)
    except (ValidationError, json.JSONDecodeError) as error:
        log.warning("unreadable status, made anew", pipeline=entry.key, error=str(error)[:200])
        return None
