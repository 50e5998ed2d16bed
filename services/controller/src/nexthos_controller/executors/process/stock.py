"""What is known of all executions here: records, kept equal to the folders and to what runs.

Comes in: the root folder, /proc, the ends of sessions, answers of probes. Goes out: records by name, id
and uid, and hints. Starts and ends nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog

from nexthos_controller.execution import Execution, Exit, Owner
from nexthos_controller.executors.local.deaths import Deaths
from nexthos_controller.executors.local.folders import HIDDEN, reachable
from nexthos_controller.executors.local.logfile import could_not_bind
from nexthos_controller.executors.local.processes import Session
from nexthos_controller.executors.local.unread import Unread, entries_of
from nexthos_controller.executors.process.adopt import Found, look, together
from nexthos_controller.executors.process.exits import judge
from nexthos_controller.executors.process.handle import Handle, Life, load, save
from nexthos_controller.executors.process.record import Record, stamp_of
from nexthos_controller.executors.shared.hints import Hints
from nexthos_controller.executors.shared.probe import Asked, Entries, probe, report
from nexthos_shared.process.engine_user import EngineUsers
from nexthos_shared.reasons import Problem

log = structlog.get_logger(__name__)


class Stock:
    """Records of one owner below one root."""

    def __init__(
        self, root: Path, owner: Owner, hints: Hints, users: EngineUsers | None = None
    ) -> None:
        self.deaths = Deaths(self._ended)
        self._engine_users = users
        self._root = root
        self._owner = owner
        self._hints = hints
        self._records: dict[str, Record] = {}
        self._names: dict[str, set[str]] = {}  # by id
        self._twins: dict[str, Record] = {}  # by uid
        self._living: dict[Session, Record] = {}
        self._damaged: set[str] = set()  # folders of which nothing is known, and nothing runs
        self._foreign: set[str] = set()  # names that are not ours to use
        self._root_stamp = 0

    # ---- looking things up

    def all(self) -> list[Record]:
        """Everything, twins included."""
        return [*self._records.values(), *self._twins.values()]

    def of(self, pipeline_id: str) -> list[Record]:
        """Everything of one pipeline."""
        names = self._names.get(pipeline_id, ())
        twins = (t for t in self._twins.values() if t.handle.id == pipeline_id)
        return [*(self._records[name] for name in names), *twins]

    def named(self, name: str) -> Record | None:
        """The one that has the folder of that name."""
        return self._records.get(name)

    def like(self, execution: Execution) -> Record | None:
        """The one whose last life is the one that was observed; None if another lives there now."""
        twin = self._twins.get(execution.uid)
        record = twin or self._records.get(execution.name)
        return record if record is not None and record.uid == execution.uid else None

    def is_foreign(self, name: str) -> bool:
        """Whether something that is not ours has the name."""
        return name in self._foreign

    def is_damaged(self, name: str) -> bool:
        """Whether there is a folder of ours that can tell nothing."""
        return name in self._damaged

    def ports(self) -> set[int]:
        """Ports that ours hold."""
        return {r.handle.life.port for r in self.all() if r.running and r.handle.life}

    def users(self, name: str) -> set[int]:
        """Users whose folders and processes all others have."""
        lives = (r.handle.life for r in self.all() if r.handle.name != name)
        return {life.user for life in lives if life is not None and life.user is not None}

    # ---- keeping equal to the folders

    async def take_stock(self) -> None:
        """Look at all folders and all processes. Raises ExecutorUnreachable if that can't be done."""
        await self._take(self._changed(self._records), look_at_processes=True)

    async def refresh(self, pipeline_id: str) -> None:
        """Look at what changed behind our back, as far as it can concern `pipeline_id`: a few stats."""
        changed = self._changed(self._names.get(pipeline_id, ()))
        await self._take(changed, look_at_processes=bool(changed))

    def _changed(self, names: Iterable[str]) -> set[str]:
        """Of `names` those whose folder differs from what was last seen, and all new folders."""
        changed = {n for n in names if stamp_of(self._records[n].folder) != self._records[n].stamp}
        with reachable(self._root):
            try:
                stamp = os.stat(self._root).st_mtime_ns
            except FileNotFoundError:
                stamp = 0
        if stamp != self._root_stamp or not stamp:
            changed |= self._listed_anew()
            self._root_stamp = stamp
        return changed

    def _listed_anew(self) -> set[str]:
        """Names of folders that came or went."""
        with reachable(self._root):
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
            there = {n for n in os.listdir(self._root) if not n.startswith(HIDDEN)}
        self._foreign &= there
        self._damaged &= there
        return (there - self._foreign - self._damaged) ^ self._records.keys()

    async def _take(self, changed: set[str], *, look_at_processes: bool) -> None:
        if look_at_processes:
            with reachable(self._root):
                found = await asyncio.to_thread(look, self._root, self._owner, self._engine_users)
                for name in changed | self._unknown(found):
                    self._take_one(name, found)
        await self.deaths.settle()

    def _unknown(self, found: Found) -> set[str]:
        """Names under which something runs that we do not watch."""
        return {
            name
            for name, shims in found.shims.items()
            if any(s.session not in self._living for s in shims)
        }

    def _take_one(self, name: str, found: Found) -> None:
        folder, record = self._root / name, self._records.get(name)
        stamp = stamp_of(folder)  # before reading: a change in between is then seen the next time
        stored, damage = self._load(folder, name in found.shims)
        if stored is not None and stored.owner != self._owner:
            self._foreign.add(name)
            return
        known = record.handle if record is not None and (damage or record.running) else None
        handle, twins = together(
            stored if stored and not damage else known or stored, folder, found
        )
        if handle is None:
            self._take_nothing(record, folder, damage)
            return
        if damage:
            log.warning("a damaged handle was made anew", folder=str(folder), damage=damage)
        record = self._take_handle(record, handle, folder)
        record.stamp = stamp
        if damage or handle != stored:
            self.keep(record, record.handle)
        for twin in twins:
            self._take_twin(Record(twin, folder, twin=True))

    def _take_nothing(self, record: Record | None, folder: Path, damage: str) -> None:
        if damage:
            log.warning("a damaged handle, and nothing runs", folder=str(folder), damage=damage)
            self._damaged.add(folder.name)
        elif record is not None:
            self._unwatch(record)
            self.remove(record)
            self._hints.add(record.handle.id)

    def _load(self, folder: Path, runs: bool) -> tuple[Handle | None, str]:
        try:
            return load(folder)
        except FileNotFoundError:
            if folder.exists() and not runs:
                self._foreign.add(folder.name)
            return None, ""
        except (NotADirectoryError, PermissionError):
            self._foreign.add(folder.name)
            return None, ""

    def _take_handle(self, record: Record | None, handle: Handle, folder: Path) -> Record:
        if record is None:
            record = self.add(Record(handle, folder))
        elif record.handle.life is not None:
            if handle.life is not None and handle.life.uid == record.uid:
                self._take_same_life(record, handle, handle.life)
                return record
            self._unwatch(record)
            record.over.set()
        record.begin(handle)
        if record.running:
            self.watch(record)
        return record

    def _take_same_life(self, record: Record, handle: Handle, life: Life) -> None:
        """Another controller may have noted that it was asked to end, or that it has ended."""
        if record.running:
            record.handle = handle
            if life.exit is not None:
                self._unwatch(record)
                record.over.set()
                self._hints.add(handle.id)

    def _take_twin(self, record: Record) -> None:
        if record.uid not in self._twins:
            log.error(
                "a second one runs under the same name", folder=str(record.folder), uid=record.uid
            )
            record.begin(record.handle)
            self._twins[record.uid] = record
            self.watch(record)

    # ---- changing records

    def add(self, record: Record) -> Record:
        """A folder that is there now."""
        handle = record.handle
        self._damaged.discard(handle.name)
        self._foreign.discard(handle.name)
        self._records[handle.name] = record
        self._names.setdefault(handle.id, set()).add(handle.name)
        record.stamp = stamp_of(record.folder)
        return record

    def remove(self, record: Record) -> None:
        """A folder that is gone now."""
        handle = record.handle
        self._records.pop(handle.name, None)
        names = self._names.get(handle.id, set())
        names.discard(handle.name)
        if not names:
            self._names.pop(handle.id, None)

    def save(self, record: Record, handle: Handle) -> None:
        """Store the handle, then know it. Raises OSError; then nothing has changed."""
        if not record.twin:
            save(record.folder, handle)
            record.stamp = stamp_of(record.folder)
        record.handle = handle

    def keep(self, record: Record, handle: Handle) -> None:
        """Know the handle, and store it if that can be done: what happened is not undone by a full disk."""
        record.handle = handle
        if record.twin:
            return
        try:
            record.folder.mkdir(mode=0o700, exist_ok=True)
            save(record.folder, handle)
        except OSError as error:
            log.warning("a handle can't be stored", folder=str(record.folder), error=error.strerror)
        record.stamp = stamp_of(record.folder)

    # ---- watching what runs

    def watch(self, record: Record) -> None:
        """See its end, and ask for its readiness."""
        session, life = record.handle.session, record.handle.life
        assert session is not None
        assert life is not None
        self._living[session] = record
        self.deaths.watch(session)
        if life.port and life.token:
            asked = Asked(
                life.endpoint,
                life.token,
                record.handle.env,
                partial(could_not_bind, record.log, life.port, life.log_offset),
                partial(_logged, Unread(record.log, life.log_offset), record.handle.id),
            )
            task = probe(asked, _Saying(record, life, self._hints))
            record.probing = asyncio.create_task(task, name=f"probe {record.handle.name}")
            record.probing.add_done_callback(report)

    def _unwatch(self, record: Record) -> None:
        if record.handle.session is not None:
            self._living.pop(record.handle.session, None)
            self.deaths.forget(record.handle.session)
        if record.probing is not None:
            record.probing.cancel()
            record.probing = None

    async def _ended(self, sessions: list[Session]) -> None:
        over = [r for s in sessions if (r := self._living.get(s)) is not None]
        exits = await asyncio.to_thread(_judge, over)
        for record, (life, exit) in zip(over, exits, strict=True):
            self._conclude(record, life, exit)

    def _conclude(self, record: Record, life: Life, exit: Exit) -> None:
        now = record.handle.life
        if now is None or now.uid != life.uid or not record.running:
            return
        self._unwatch(record)
        if now.stopping and not exit.signalled:  # asked to while we looked
            exit = Exit(exit.code, True)
        ended = replace(record.handle, life=replace(now, exit=exit))
        if record.twin or stamp_of(record.folder) == record.stamp:
            self.keep(record, ended)
        else:
            # Another controller wrote since: it may have started the next life, which this note would
            # make unknown, and then removed. What it wrote is read at the next look.
            record.handle = ended
        if record.twin:
            self._twins.pop(record.uid, None)
        record.over.set()
        self._hints.add(record.handle.id)

    async def close(self) -> None:
        """Let go of everything; nothing is ended by this."""
        probes = [r.probing for r in self.all() if r.probing is not None]
        for task in probes:
            task.cancel()
        await asyncio.gather(*probes, return_exceptions=True)
        await self.deaths.close()


class _Saying:
    """What a probe finds, noted in the record of the life that it asked."""

    def __init__(self, record: Record, life: Life, hints: Hints) -> None:
        self._record = record
        self._uid = life.uid
        self._hints = hints

    def __call__(
        self, ready: bool | None, problem: Problem | None, symptoms: tuple[Problem, ...]
    ) -> None:
        record = self._record
        if record.uid == self._uid and record.running:
            record.ready, record.problem, record.symptoms = ready, problem, symptoms
            self._hints.add(record.handle.id)


async def _logged(unread: Unread, pipeline_id: str) -> Entries:
    return entries_of(unread.lines(), pipeline_id)


def _judge(records: list[Record]) -> list[tuple[Life, Exit]]:
    judged = []
    for record in records:
        life = record.handle.life
        assert life is not None
        judged.append((life, judge(record.folder, record.handle, life)))
    return judged
