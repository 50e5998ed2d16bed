"""What is known of all executions here: records, kept equal to their folders.

Comes in: the root folder. Goes out: records by name, id and host. Must not ask a host: whether a stream
runs is found out by `watch`, and noted here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Set
from pathlib import Path

import structlog

from nexthos_controller.execution import Execution, Owner
from nexthos_controller.executors.local import folders
from nexthos_controller.executors.local.folders import (
    HIDDEN,
    reachable,
    replace_file,
    start_failed,
    unreachable,
)
from nexthos_controller.executors.shared.hints import Hints
from nexthos_controller.executors.streams.handle import (
    CONFIG,
    HANDLE,
    PREPARED,
    Handle,
    HostId,
    load,
    publish,
    save,
)
from nexthos_controller.executors.streams.record import Record, stamp_of
from nexthos_shared.errors import NameConflict

log = structlog.get_logger(__name__)


class Stock:
    """Records of one owner below one root."""

    def __init__(self, root: Path, owner: Owner, hints: Hints) -> None:
        self._root = root
        self._owner = owner
        self._hints = hints
        self._records: dict[str, Record] = {}
        self._names: dict[str, set[str]] = {}  # by id
        self._lodgers: dict[HostId, set[str]] = {}  # names, by the host in which they are at home
        self._damaged: set[str] = set()
        self._foreign: set[str] = set()
        self._root_stamp = 0

    # ---- looking things up

    def all(self) -> list[Record]:
        """Everything."""
        return list(self._records.values())

    def of(self, pipeline_id: str) -> list[Record]:
        """Everything of one pipeline."""
        return [self._records[name] for name in self._names.get(pipeline_id, ())]

    def named(self, name: str) -> Record | None:
        """The one that has the folder of that name."""
        return self._records.get(name)

    def like(self, execution: Execution) -> Record | None:
        """The one whose last life is the one that was observed."""
        record = self._records.get(execution.name)
        return record if record is not None and record.uid == execution.uid else None

    def on(self, host: HostId) -> list[Record]:
        """Those that run on it, or may have begun to."""
        return [self._records[name] for name in self._lodgers.get(host, ())]

    def names_on(self, host: HostId) -> Set[str]:
        """Their names."""
        return self._lodgers.get(host, frozenset())

    def hosts(self) -> list[HostId]:
        """Those on which something runs, as far as is known."""
        return list(self._lodgers)

    def is_foreign(self, name: str) -> bool:
        """Whether something that is not ours has the name."""
        return name in self._foreign

    def is_damaged(self, name: str) -> bool:
        """Whether there is a folder of ours that can tell nothing."""
        return name in self._damaged

    # ---- keeping equal to the folders

    def refresh(self, pipeline_id: str | None = None) -> None:
        """Look at what changed behind our back. Raises ExecutorUnreachable if that can't be done."""
        names = self._records if pipeline_id is None else self._names.get(pipeline_id, ())
        for name in self._changed(names):
            self._take(name)

    def _changed(self, names: Iterable[str]) -> set[str]:
        changed = {n for n in names if stamp_of(self._records[n].folder) != self._records[n].stamp}
        with reachable(self._root):
            stamp = self._stamp_of_root()
            if stamp != self._root_stamp:
                there = {n for n in os.listdir(self._root) if not n.startswith(HIDDEN)}
                self._foreign &= there
                self._damaged &= there
                changed |= (there - self._foreign - self._damaged) ^ self._records.keys()
                self._root_stamp = stamp
        return changed

    def _stamp_of_root(self) -> int:
        """As last changed. One that was deleted as a whole is made anew, with all that is known."""
        try:
            return os.stat(self._root).st_mtime_ns
        except FileNotFoundError:
            log.warning("the folder of all streams was deleted", folder=str(self._root))
            self._root.mkdir(parents=True, mode=0o700)
        for record in self.all():
            folders.publish(
                self._root,
                self._owner,
                record.handle.name,
                {file: record.handle.to_json() for file in (HANDLE, PREPARED)},
            )
            record.stamp = stamp_of(record.folder)
        return os.stat(self._root).st_mtime_ns

    def _take(self, name: str) -> None:
        folder, record = self._root / name, self._records.get(name)
        stamp = stamp_of(folder)  # before reading: a change in between is then seen the next time
        try:
            handle, damage = load(folder)
        except FileNotFoundError:
            if record is not None:
                self.remove(record)
                self._hints.add(record.handle.id)
            elif folder.exists():
                self._foreign.add(name)
            return
        except (NotADirectoryError, PermissionError):
            self._foreign.add(name)
            return
        except OSError as error:
            raise unreachable(folder, error) from error
        if damage:
            handle = record.handle if record is not None else handle
            log.warning("a damaged handle", folder=str(folder), damage=damage)
        if handle is None:
            self._damaged.add(name)
        elif handle.owner != self._owner:
            self._foreign.add(name)
        else:
            self._know(name, handle, folder)
            self._records[name].stamp = stamp
            if damage:
                self.keep(self._records[name], handle)

    def _know(self, name: str, handle: Handle, folder: Path) -> None:
        record = self._records.get(name)
        if record is None:
            self.add(Record(handle, folder)).begin(handle)
            return
        same = record.running and handle.life is not None and handle.life.uid == record.uid
        self.know(record, handle)
        if not same:
            record.begin(handle)
        elif handle.life is not None and handle.life.exit is not None:
            record.over.set()
            self._hints.add(handle.id)

    # ---- changing records

    def know(self, record: Record, handle: Handle) -> None:
        """Know what its file or its host says; nothing is stored."""
        self._leave(record)
        record.handle = handle
        if handle.home is not None:
            self._lodgers.setdefault(handle.home, set()).add(handle.name)

    def _leave(self, record: Record) -> None:
        home = record.handle.home
        if home is None or home not in self._lodgers:
            return
        self._lodgers[home].discard(record.handle.name)
        if not self._lodgers[home]:
            del self._lodgers[home]

    def publish(self, handle: Handle, config: bytes) -> Record:
        """Make its folder, or heal it. Raises NameConflict, StartFailed."""
        folder = self._root / handle.name
        try:
            if self.is_damaged(handle.name):
                replace_file(folder / CONFIG, config)
                replace_file(folder / PREPARED, handle.to_json())
                save(folder, handle)
            else:
                self._publish(handle, config)
        except FileExistsError as error:
            raise NameConflict(f"{folder} is there and is not ours: it is left alone") from error
        except OSError as error:
            raise start_failed(folder, error) from error
        return self.add(Record(handle, folder))

    def _publish(self, handle: Handle, config: bytes) -> None:
        """Of what changed in the root only this is known already: 2,000 names take a millisecond to read."""
        unchanged = os.stat(self._root).st_mtime_ns == self._root_stamp
        publish(self._root, handle, config)
        if unchanged:
            self._root_stamp = os.stat(self._root).st_mtime_ns

    def add(self, record: Record) -> Record:
        """A folder that is there now."""
        handle = record.handle
        self._damaged.discard(handle.name)
        self._foreign.discard(handle.name)
        self._records[handle.name] = record
        self._names.setdefault(handle.id, set()).add(handle.name)
        self.know(record, handle)
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
        self._leave(record)
        record.over.set()

    def save(self, record: Record, handle: Handle) -> None:
        """Store the handle, then know it. Raises OSError; then nothing has changed."""
        save(record.folder, handle)
        record.stamp = stamp_of(record.folder)
        self.know(record, handle)

    def keep(self, record: Record, handle: Handle) -> None:
        """Know the handle, and store it if that can be done: what happened is not undone by a full disk."""
        self.know(record, handle)
        try:
            save(record.folder, handle)
        except OSError as error:
            log.warning("a handle can't be stored", folder=str(record.folder), error=error.strerror)
        record.stamp = stamp_of(record.folder)

    def is_current(self, record: Record) -> bool:
        """Whether nobody else has written its handle since, or removed it."""
        return self._records.get(record.handle.name) is record and (
            stamp_of(record.folder) == record.stamp
        )
