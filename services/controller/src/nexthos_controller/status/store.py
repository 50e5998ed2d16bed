"""The status store: what is remembered and reported of each pipeline, and the only writer of it.

Comes in: statuses to remember (before an effect) or to report (after it). Goes out: the bucket
`<ns>-status`, by compare-and-set. The copy here rules while this controller acts: a foreign write or
deletion is overwritten. It must not know what a phase means.

Of each status the bytes are kept, and read when somebody asks: 2 KB instead of 10 for what they say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import TypeVar

import structlog
from msgspec import structs

from nexthos_controller.status.events import EventLog
from nexthos_controller.telemetry.instruments import Instruments
from nexthos_shared.errors import NotPermitted, StoreConflict, StoreRefused
from nexthos_shared.model import Phase, PipelineStatus
from nexthos_shared.model.stored import Stored, encode, read
from nexthos_shared.reasons import Problem
from nexthos_shared.store import Bucket, KvEntry
from nexthos_shared.store.watch import Change, Snapshot

SPACING = 1.0  # seconds between two reports of one pipeline whose phase stays the same
ATTEMPTS = 5  # compare-and-set against a foreign writer, before the queue's backoff takes over

S = TypeVar("S", bound=Stored)

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Record:
    """What is known to be stored of one pipeline."""

    revision: int = 0  # as last written or read here
    value: bytes | None = None  # the status; None: nothing, a marker, or something unreadable
    reported_at: float = float("-inf")
    seen: int = 0  # as the watch brought it: larger than `revision` if somebody else wrote
    lost: bool = False  # it is not in the bucket any more
    writing: bool = False  # a write is on its way, and may be seen before its acknowledgement

    @property
    def is_stored(self) -> bool:
        """Whether the bucket holds this status, as far as is known."""
        return not self.lost and self.seen <= self.revision


class StatusStore:
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
        self._records: dict[str, _Record] = {}
        self.refused: dict[str, Problem] = {}  # why what is known of a pipeline can't be stored
        self._watchers: dict[str, list[asyncio.Future[None]]] = {}

    async def load(self) -> None:
        """Take over what is stored; called once, before anything is decided."""
        self._records = dict(await self._bucket.each(self._record_of))

    def _record_of(self, entry: KvEntry) -> tuple[str, _Record]:
        return entry.key, _Record(entry.revision, entry.value)

    def keys(self) -> set[str]:
        """Pipelines of which a status is stored."""
        return {key for key, record in self._records.items() if record.value is not None}

    def status(self, key: str) -> PipelineStatus | None:
        """The last status, or None; read anew from its bytes, which takes some 20 us."""
        record = self._records.get(key)
        if record is None or record.value is None:
            return None
        status = read(PipelineStatus, record.value)
        if status is None:
            log.warning("unreadable status, made anew", pipeline=key)
            record.value = None
        return status

    def each(self, kind: type[S]) -> Iterable[tuple[str, S]]:
        """What `kind` says of all statuses, with their ids, in order. For any thread.

        A kind with the few fields that are asked for is read in a tenth of the time of a whole status.
        """
        for key, record in sorted(self._records.copy().items(), key=itemgetter(0)):
            if (found := read(kind, record.value)) is not None:
                yield key, found

    def stamp(self, key: str) -> tuple[int, bool]:
        """Another whenever what is stored of a pipeline is, or may be, another."""
        record = self._records.get(key)
        return (record.revision, record.is_stored) if record else (0, False)

    def saw(self, item: Snapshot[KvEntry] | Change[KvEntry]) -> set[str]:
        """Take note of what the bucket holds; returns keys that may have to be written again.

        What is written here is seen too, at times before its acknowledgement: then whether it was
        somebody else's is found out when that comes.
        """
        if isinstance(item, Change):
            record = self._records.get(item.entry.key)
            if record is None:
                return set()
            record.seen = max(record.seen, item.entry.revision)
            return set() if record.is_stored or record.writing else {item.entry.key}
        if item.changed_identity:  # all that was written here is gone, and revisions begin anew
            for record in self._records.values():
                record.revision, record.seen, record.lost = 0, 0, True
        listed = {e.key: e.revision for e in item.entries}
        newest = max(listed.values(), default=0)
        for key, record in self._records.items():
            record.seen = max(record.seen, listed.get(key, 0))
            record.lost = key not in listed and (newest == 0 or record.revision <= newest)
        return {key for key, r in self._records.items() if r.value is not None and not r.is_stored}

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

    async def remember(
        self, key: str, before: PipelineStatus | None, status: PipelineStatus
    ) -> PipelineStatus:
        """Write before an effect, unless this very memory and phase are stored already.

        The phase too: a deletion changes no memory, and its drain may take a while. Returns the last
        status, whichever that is; `before` is the one until now.
        """
        known = before is not None and (before.memory, before.phase) == (
            status.memory,
            status.phase,
        )
        if before is not None and known and self._records[key].is_stored:
            return before
        return await self._write(key, before, status)

    async def report(
        self, key: str, before: PipelineStatus | None, status: PipelineStatus
    ) -> float | None:
        """Write after an effect if something other than the time changed.

        A change of phase or memory is written at once, other changes at most once a second; then
        the seconds after which to come again are returned. At once, where somebody else wrote meanwhile.
        """
        record = self._records.setdefault(key, _Record())
        if before is not None and record.is_stored and _same(before, status):
            return None
        quiet = before is not None and (before.phase, before.memory) == (
            status.phase,
            status.memory,
        )
        wait = record.reported_at + SPACING - self._now()
        if quiet and wait > 0:
            return wait
        await self._write(key, before, status)
        record.reported_at = self._now()
        return None if record.is_stored else 0.0

    async def forget(self, key: str, before: PipelineStatus | None) -> None:
        """Delete the status of a pipeline that is gone, if there is one."""
        record = self._records.pop(key, None)
        self.refused.pop(key, None)
        if record is not None and before is not None:
            try:  # gone here first: who sees the key gone must not get an answer about it any more
                self._guard()
                await self._bucket.delete(key)
            except BaseException:
                self._records[key] = record
                raise
            log.info("forgotten", pipeline=key)
            self._events.forgot(key, before, record.revision)
        self._announce(key)

    async def _write(
        self, key: str, before: PipelineStatus | None, status: PipelineStatus
    ) -> PipelineStatus:
        status = structs.replace(status, updated_at=self._now(), controller=self._controller)
        record = self._records.setdefault(key, _Record())
        value = encode(status)
        record.writing = True
        try:
            await self._store(key, record, value)
            self.refused.pop(key, None)
        except (StoreRefused, NotPermitted) as error:
            self.refused[key] = error.problem
            raise
        finally:
            record.writing = False
        if before is None or before.phase is not status.phase:
            _log_phase(key, before, status)
        record.value = value
        self._events.wrote(key, before, status, record.revision)
        self._announce(key)
        return status

    async def _store(self, key: str, record: _Record, value: bytes) -> None:
        """By compare-and-set, whatever somebody else wrote since."""
        for attempt in range(ATTEMPTS):
            # Before each attempt: a leader that was frozen must not overwrite what the next one wrote.
            self._guard()
            try:
                record.revision = await self._bucket.update(key, value, record.revision)
                record.lost = False
                self._instruments.status_writes.inc()
                return
            except StoreConflict:
                if attempt == ATTEMPTS - 1:
                    raise
                stored = await self._bucket.get(key)
                new, record.revision = record.revision == 0, stored.revision if stored else 0
                record.seen, record.lost = record.revision, True  # not ours, until a write succeeds
                if new and (stored is None or stored.value is None):
                    continue  # the marker of a pipeline of that name, which was forgotten here
                self._instruments.status_conflicts.inc()
                log.warning("status overwritten by somebody else, put right", pipeline=key)


def _log_phase(key: str, before: PipelineStatus | None, status: PipelineStatus) -> None:
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
    return old == structs.replace(new, updated_at=old.updated_at, controller=old.controller)
