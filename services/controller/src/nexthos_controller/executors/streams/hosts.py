"""All hosts of one owner: found, started, watched, filled, emptied.

Comes in: the root folder, /proc, how many live in each. Goes out: a host with room, and a call for each that
has died. Must not know what a stream is.

A stream goes to the host with the fewest of those that run the same binary and are for the same party
(see `suspicion`); where none has room, another is started. A host that was given many over its life is
given no more, because what it keeps of deleted streams (routes, series of metrics) only grows. One
that has been empty for a while is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from nexthos_controller import failpoints
from nexthos_controller.execution import Owner
from nexthos_controller.executors.local import folders, logfile
from nexthos_controller.executors.local.belongings import hand_over
from nexthos_controller.executors.local.deaths import Deaths
from nexthos_controller.executors.local.ending import end
from nexthos_controller.executors.local.processes import Session, boot_id
from nexthos_controller.executors.local.shim import EXIT, session_argv, spawn, tail_of
from nexthos_controller.executors.shared.open_files import refuse_without_room
from nexthos_controller.executors.shared.ports import free_port
from nexthos_controller.executors.streams import host as stored
from nexthos_controller.executors.streams import lost
from nexthos_controller.executors.streams.api import Api, NotOurs, Silent
from nexthos_controller.executors.streams.handle import HostId
from nexthos_controller.executors.streams.host import HostHandle
from nexthos_controller.executors.streams.metrics import Shared, split
from nexthos_controller.executors.streams.settings import StreamsSettings
from nexthos_controller.executors.streams.shares import Metrics, agree
from nexthos_controller.executors.streams.suspicion import CLEARED
from nexthos_shared.engine import last_error
from nexthos_shared.errors import ExecutorUnreachable, StartFailed
from nexthos_shared.process.engine_user import EngineUsers

log = structlog.get_logger(__name__)

STARTS_WITHIN = 20.0  # seconds; measured 40 ms
ASK_AGAIN = 0.005  # seconds
HOSTS_AS = (
    -1
)  # from the last user but one downwards: the last one is lint's, the first are processes'
WORN_OUT = 8  # times its cap that a host is given streams


class Host:
    """One running host."""

    def __init__(self, handle: HostHandle, folder: Path) -> None:
        self.handle = handle
        self.folder = folder
        self.log = folder / stored.LOG
        self.output = folder / stored.OUTPUT
        self.errors = folder / stored.ERRORS
        self.api = Api(handle.port, handle.token, handle.password)
        self.metrics = Shared(self.api.metrics)
        self.over = asyncio.Event()  # set when it has ended, and that was dealt with
        self.placing: dict[str, int] = {}  # names that are being given to it
        self.silent = False  # for long enough to count
        self.unanswered = False  # at the last look
        self.answered = False  # ever since it is known here
        self.broken: set[str] = set()  # names that it broke off creating: it may hold a lock since
        self.strays: set[str] = (
            set()
        )  # it has them, and no folder tells of them: they are being ended
        self.hung = False  # it is killed for its silence
        self.empty_since = time.monotonic()
        self.given = 0
        self.starting = False
        self._had: set[str] | None = (
            None if handle.first else set()
        )  # names of all its streams ever

    async def counted_before(self, name: str) -> str:
        """Its metrics of that name, if it has had a stream of it; that it has one is noted. Raises Silent."""
        if self._had is None:  # another controller started it
            self._had = set(split(await self.api.metrics()))
        if name in self._had:
            return await self.metrics.of(name, fresh=0.0)
        self._had.add(name)
        return ""

    @property
    def id(self) -> HostId:
        """This life of it."""
        return self.handle.id

    @property
    def session(self) -> Session:
        """Its processes."""
        return stored.session_of(self.handle, self.folder)

    @property
    def party(self) -> int:
        """How many suspects may share it; 0 also when it has outlived suspicion."""
        return 0 if time.time() - self.handle.started_at > CLEARED else self.handle.party

    def note(self, **changes: object) -> None:
        """Change what is stored of it; a disk that is full must not keep it from working."""
        self.handle = replace(self.handle, **changes)  # type: ignore[arg-type]
        try:
            stored.save(self.folder, self.handle)
        except OSError as error:
            log.warning("a host can't be noted", folder=str(self.folder), error=error.strerror)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A stream that looks for a host."""

    name: str
    binary: Path
    engine: str  # identity of the binary
    party: int
    metrics: Metrics


class Hosts:
    """Those of one owner below one root."""

    def __init__(
        self,
        root: Path,
        owner: Owner,
        settings: StreamsSettings,
        lodgers: Callable[[HostId], Set[str]],
        died: Callable[[Host], Awaitable[None]],
        users: EngineUsers | None = None,
    ) -> None:
        self.deaths = Deaths(self._ended)
        self._root = root
        self._owner = owner
        self._settings = settings
        self._lodgers = lodgers
        self._died = died
        self._users = users
        self._hosts: dict[HostId, Host] = {}
        self._starting = asyncio.Lock()
        self._stamp = 0
        self.found: Callable[[Host], None] = lambda _: None
        self.lost = lost.Lost(owner, self._sessions, users)

    def all(self) -> list[Host]:
        """Those that run."""
        return list(self._hosts.values())

    def get(self, host: HostId) -> Host | None:
        """That life of a host, if it runs."""
        return self._hosts.get(host)

    @property
    def untold(self) -> str:
        """What runs and no folder tells of, in words: any pipeline may be in it, until it has ended."""
        strays = sorted(name for host in self.all() for name in host.strays)
        return ", ".join(filter(None, (self.lost.told, *strays)))

    def refuse_untold(self) -> None:
        """Raises ExecutorUnreachable while there is any."""
        if untold := self.untold:
            words = f"{untold}: it runs, and no folder tells of it: it is being ended"
            raise ExecutorUnreachable(words)

    def _sessions(self) -> list[tuple[int, int]]:
        return [(host.pid, host.ticks) for host in self._hosts]

    # ---- finding

    async def refresh(self) -> None:
        """Take up hosts that another controller made. Raises ExecutorUnreachable."""
        with folders.reachable(self._root):
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
            stamp = os.stat(self._root).st_mtime_ns
            if stamp == self._stamp:
                return
            await self._take_stock(stamp)

    async def _take_stock(self, stamp: int) -> None:
        found = [(f, stored.load(f)) for f in self._root.iterdir() if f.name.isdigit()]
        self._stamp = stamp
        for folder, handle in found:
            if handle is None or handle.owner != self._owner or handle.id in self._hosts:
                continue
            if not handle.pid and self._starting.locked():
                continue  # it is ours, and is being started
            await self._adopt(handle, folder)
        self._restore()
        await self.lost.look()

    def _restore(self) -> None:
        """Folders of what runs that were deleted: for the next controller. They get no more streams."""
        for host in self.all():
            if host.handle.pid and not host.over.is_set() and not host.folder.exists():
                log.warning("the folder of a host was deleted", folder=str(host.folder))
                with contextlib.suppress(OSError):
                    stored.publish(self._root, replace(host.handle, shared=True, retired=True))
                    host.note(shared=True, retired=True)

    async def _adopt(self, handle: HostHandle, folder: Path) -> None:
        if not handle.pid:  # somebody died between spawning it and noting that
            found = await asyncio.to_thread(lost.session_in, folder, self._users)
            if found is None:
                if time.time() - handle.started_at > STARTS_WITHIN:
                    await asyncio.to_thread(shutil.rmtree, folder, True)
                self._stamp = 0  # look again: another controller may be about to spawn it
                return
            host = Host(handle, folder)
            host.note(pid=found[0], ticks=found[1], boot=boot_id())
            self._take_up(host)
        else:
            self._take_up(Host(handle, folder))

    def _take_up(self, host: Host) -> None:
        self._hosts[host.id] = host
        self.deaths.watch(host.session)
        self.found(host)

    async def _ended(self, sessions: list[Session]) -> None:
        for host in [h for h in self.all() if h.session in sessions]:
            await self._died(host)
            self._hosts.pop(host.id, None)
            host.over.set()
            await host.api.close()
            if not host.starting:  # who starts it wants to read why
                await asyncio.to_thread(self._forget, host)

    def _forget(self, host: Host) -> None:
        with contextlib.suppress(OSError):
            leaving = folders.withdraw(self._root, self._owner, host.folder.name)
            if leaving is not None:
                shutil.rmtree(leaving)

    # ---- placing

    @contextmanager
    def _placing(self, host: Host, name: str) -> Iterator[Host]:
        host.placing[name] = host.placing.get(name, 0) + 1
        try:
            yield host
        finally:
            host.placing[name] -= 1
            if not host.placing[name]:
                del host.placing[name]

    async def place(
        self, wanted: Wanted, guard: Callable[[], None]
    ) -> contextlib.AbstractContextManager[Host]:
        """A host with room, held for this stream as long as the context lasts. Raises StartFailed."""
        while (host := self._with_room(wanted)) is None:
            async with self._starting:  # who waited finds the one that was started meanwhile
                if self._with_room(wanted) is None:
                    guard()
                    await self._start(wanted.binary, wanted.engine, wanted.party)
        host.given += 1
        name = wanted.name
        changes: dict[str, object] = {}
        if not host.handle.first:
            changes["first"] = name
        elif host.handle.first != name and not host.handle.shared:
            changes["shared"] = True
        if wanted.metrics.keys() - host.handle.metrics.keys():
            changes["metrics"] = {**host.handle.metrics, **wanted.metrics}
        if host.given >= WORN_OUT * self._settings.cap and not host.handle.retired:
            changes["retired"] = True
        if changes:
            host.note(**changes)
        return self._placing(host, name)

    def count(self, host: Host) -> int:
        """How many live in it, or are about to."""
        return len(self._lodgers(host.id) | host.placing.keys())

    def _with_room(self, wanted: Wanted) -> Host | None:
        party = wanted.party
        limit = min(party, self._settings.cap) if party else self._settings.cap
        fitting = [
            h
            for h in self.all()
            if h.handle.engine == wanted.engine
            and h.party == party
            and h.answered
            and not (h.handle.retired or h.silent or h.starting)
            and self.count(h) < limit
            and agree(wanted.metrics, h.handle.metrics)
        ]
        return min(fitting, key=lambda h: (self.count(h), h.handle.number), default=None)

    # ---- starting and ending

    async def _start(self, binary: Path, engine: str, party: int) -> Host:
        refuse_without_room()
        try:
            handle = self._published(engine, party)
            folder = self._root / str(handle.number)
            failpoints.reach("streams.host.spawning")
            argv = [str(binary), "-c", str(folder / stored.ROOT), "streams"]
            label = lost.label(handle.owner, handle.number)
            user = self._users.numbered(HOSTS_AS - handle.number) if self._users else None
            own = hand_over(user, folder, reads=(stored.ROOT,), writes=(EXIT, stored.LOG))
            if user is not None:
                user.give(folder / stored.LOG, 0o660)  # it writes, we cut
            pid, ticks = spawn(
                session_argv(folder / EXIT, label, argv),
                env=stored.environment(folder),
                cwd=own,
                log=folder / stored.OUTPUT,
                errors=folder / stored.ERRORS,
                user=user,
            )
        except OSError as error:
            raise folders.start_failed("a host can't be started", error) from error
        failpoints.reach("streams.host.spawned")
        host = Host(handle, folder)
        host.note(pid=pid, ticks=ticks, boot=boot_id())
        host.starting = True
        self._take_up(host)
        try:
            await self._until_it_answers(host)
        finally:
            host.starting = False
            if host.over.is_set():
                self._forget(host)
        return host

    def _published(self, engine: str, party: int) -> HostHandle:
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        taken = {int(f.name) for f in self._root.iterdir() if f.name.isdigit()}
        port = free_port({h.handle.port for h in self.all()})
        number = 0
        while True:
            number += 1
            if number in taken:
                continue
            handle = stored.new_handle(self._owner, number, engine, port, party, time.time())
            try:
                stored.publish(self._root, handle)
            except FileExistsError:
                continue
            return handle

    async def _until_it_answers(self, host: Host) -> None:
        deadline = time.monotonic() + STARTS_WITHIN
        try:
            while not host.over.is_set():
                with contextlib.suppress(Silent, NotOurs):
                    await host.api.ping()
                    host.answered = True
                    return
                port = host.handle.port
                if logfile.could_not_bind(host.log, port, 0) or time.monotonic() > deadline:
                    break
                await asyncio.sleep(ASK_AGAIN)
            cause = last_error(words_of(host))
            words = cause.message if cause else "it does not answer"
            raise StartFailed(f"host {host.handle.number} can't be started: {words}")
        except BaseException:
            if not host.over.is_set():
                await asyncio.shield(self.end(host, 0.0, lambda: None))
            raise

    async def end(self, host: Host, grace: float, guard: Callable[[], None]) -> bool:
        """Let it drain, or kill it. Raises StillRunning."""
        host.note(retired=True)
        return await end(host.session, host.over, self.deaths, grace, guard)

    async def end_the_empty(self, guard: Callable[[], None]) -> None:
        """End hosts that have been empty for a while, at once those that get no more streams."""
        now = time.monotonic()
        for host in self.all():
            if self.count(host) or host.starting:
                host.empty_since = now
            elif host.handle.retired or now - host.empty_since > self._settings.idle:
                guard()
                if not self.count(host):
                    await self.end(host, stored.SHUTDOWN_TIMEOUT, guard)

    async def close(self) -> None:
        """Let go of everything; nothing is ended by this."""
        await self.deaths.close()
        await self.lost.close()
        for host in self.all():
            await host.api.close()


def words_of(host: Host) -> str:
    """What the engine said last, in its log and in its crash; never what its streams printed."""
    return f"{tail_of(host.log, 0)}\n{tail_of(host.errors, 0)}"
