"""The contract of base.py, for streams. Decides nothing; what is known of what runs is in `stock`."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import Self
from weakref import WeakValueDictionary

from nexthos_controller import failpoints
from nexthos_controller.execution import Execution, Exit, Listing, LogLine, Spec, Stopped, Stranger
from nexthos_controller.executors.contract import LocalContext, ReplicaExecutor
from nexthos_controller.executors.local.belongings import open_up
from nexthos_controller.executors.local.binaries import binary_of, made_with
from nexthos_controller.executors.local.folders import replace_file, sweep, unreachable, withdraw
from nexthos_controller.executors.local.place import place_of
from nexthos_controller.executors.local.processes import Session, leads
from nexthos_controller.executors.shared import binding
from nexthos_controller.executors.shared.hints import Hints
from nexthos_controller.executors.streams import reading, refusals
from nexthos_controller.executors.streams.body import Body
from nexthos_controller.executors.streams.creating import Creator
from nexthos_controller.executors.streams.endings import Endings, keep_of
from nexthos_controller.executors.streams.handle import CONFIG, Handle, HostId, Life
from nexthos_controller.executors.streams.hosts import Host, Hosts
from nexthos_controller.executors.streams.lost import strangers
from nexthos_controller.executors.streams.record import Record
from nexthos_controller.executors.streams.settings import read_settings
from nexthos_controller.executors.streams.stock import Stock
from nexthos_controller.executors.streams.tending import tend
from nexthos_controller.executors.streams.watch import Watches
from nexthos_shared import engine, names
from nexthos_shared.errors import (
    CannotRunHere,
    ExecutorUnreachable,
    InvalidConfig,
    NameConflict,
    StartFailed,
    StillRunning,
)
from nexthos_shared.model import Pipeline
from nexthos_shared.reasons import Problem, Reason


class StreamsExecutor(ReplicaExecutor):
    """Runs pipelines as streams of few engines on this machine."""

    name = "streams"
    here = True

    def __init__(self, context: LocalContext) -> None:
        self._context = context
        self._guard = context.guard
        self.settings = read_settings(context.options)
        self._state_dir = context.state_dir.absolute()
        self._root = self._state_dir / "streams"
        self._hints = Hints()
        self._stock = Stock(self._root, context.owner, self._hints)
        self._endings = Endings(self._stock, self._hints, context.guard)
        self._hosts = Hosts(
            self._state_dir / "hosts",
            context.owner,
            self.settings,
            self._stock.names_on,
            self._endings.host_died,
            context.engine_users,
        )
        self._watches = Watches(self._stock, self._endings, self._hints, context.guard)
        self._hosts.found = self._watches.begin
        self._endings.hosts = self._hosts
        self._creator = Creator(context, self._stock, self._hosts, self._hints, self._watches.wake)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._tending: asyncio.Task[None] | None = None
        self._place = ""

    # ---- opening and closing

    async def __aenter__(self) -> Self:
        """Adopt what runs: same hosts, same streams, nothing created anew."""
        try:
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
            open_up(self._context.engine_users, self._state_dir, self._state_dir / "hosts")
            self._place = place_of(self._state_dir)
            await asyncio.to_thread(sweep, self._root, self._context.owner)
        except OSError as error:
            raise unreachable(self._root, error) from error
        try:
            self._stock.refresh()
            await self._refresh_hosts()
            await self._look(self._hosts.all())
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        self._tending = asyncio.create_task(
            tend(self._hosts, self._guard, self._keep_lines), name="streams executor"
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of pidfds, connections and tasks; what runs, runs on."""
        self._hints.close()
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.gather(self._tending, return_exceptions=True)
        await self._watches.close()
        await self._endings.close()
        await self._hosts.close()

    def _keep_lines(self, host: Host, raw: Iterable[bytes]) -> None:
        keep_of(self._stock.on(host.id), raw)

    # ---- what can run, and what does

    def check(self, definition: Pipeline) -> list[Problem]:
        """See base.py."""
        problems = []
        if definition.engine not in self._context.engines:
            problems.append(binding.unknown_engine(definition.engine))
        if definition.connection not in self._context.connections:
            problems.append(binding.unknown_connection(definition.connection))
        limits = [m for m in ("cpu", "memory") if getattr(definition.resources, m) is not None]
        return problems + refusals.of_fields(definition.executor_options, limits)

    async def refusals(self, spec: Spec, config: bytes) -> list[Problem]:
        """See base.py."""
        if spec.definition.connection not in self._context.connections:
            return []  # that is of the settings, and what is said of bytes is held beyond them
        try:
            await self._creator.body(spec, 0, config)
        except (CannotRunHere, InvalidConfig) as error:
            return [error.problem]
        return []

    async def list(self) -> Listing:
        """See base.py."""
        self._stock.refresh()
        await self._refresh_hosts()
        await self._look(self._hosts.all())
        listing = self._listing(self._stock.all(), strict=True)
        if not listing.places and not listing.executions:
            raise ExecutorUnreachable("no host answers")
        return listing

    async def strangers(self) -> frozenset[Stranger]:
        """See base.py."""
        return await asyncio.to_thread(strangers, self._context.owner, self._context.engine_users)

    async def find(self, pipeline_id: str) -> Listing:
        """See base.py. From what is known; hosts are asked by `watch`."""
        self._stock.refresh(pipeline_id)
        await self._refresh_hosts()
        records = self._stock.of(pipeline_id)
        if not any(r.running for r in records):
            self._hosts.refuse_untold()
        if any(self._is_silent(r) for r in records):
            raise ExecutorUnreachable(f"the host of {pipeline_id} runs, and does not answer")
        return self._listing(records)

    async def _refresh_hosts(self) -> None:
        await self._hosts.refresh()
        await self._hosts.deaths.settle()
        for host in self._stock.hosts():
            if self._hosts.get(host) is None and not _leads(host):
                for record, life in self._endings.lives_in(host):
                    await self._lost(record, life)

    async def _lost(self, record: Record, life: Life) -> None:
        """Its host has ended, and left nothing that says how."""
        problem = Problem(Reason.KILLED, f"host {life.host.number} was killed, or the machine was")
        await self._endings.conclude(record, life, Exit(None, life.stopping, problem))

    def _is_silent(self, record: Record, strict: bool = False) -> bool:
        """Whether nobody can say what it does; `strict`: because of one missing answer."""
        home = record.handle.home
        if home is None:
            return False
        host = self._hosts.get(home)
        if host is None:
            return True
        return host.silent or ((strict or not record.running) and host.unanswered)

    async def _look(self, hosts: Iterable[Host]) -> None:
        await self._watches.look(hosts)
        await self._hosts.deaths.settle()

    def _listing(self, records: Iterable[Record], strict: bool = False) -> Listing:
        # In an order that a restart does not change: a status would be written anew for nothing.
        ordered = sorted(records, key=lambda r: (r.handle.id, r.handle.replica, r.handle.name))
        seen = tuple(
            self._seen(r, self._outdated(r)) for r in ordered if not self._is_silent(r, strict)
        )
        complete = len(seen) == len(ordered) and not self._hosts.untold
        return Listing(seen, frozenset({self._place} if complete else ()))

    def _seen(self, record: Record, outdated: str = "") -> Execution:
        host = self._hosts.get(record.handle.life.host) if record.handle.life else None
        return record.seen(self._place, host.handle.endpoint if host else None, outdated)

    def _outdated(self, record: Record) -> str:
        life = record.handle.life
        if life is None or not record.running:
            return ""
        stored = record.handle.definition
        names = (stored.get("engine"), stored.get("connection"))
        today = made_with(self._context, *(str(name or "default") for name in names))
        return binding.outdated(life.made_with, today)

    # ---- preparing

    async def prepare(self, spec: Spec, replica: int) -> None:
        """See base.py."""
        name = binding.name_of(self._context, spec, replica)
        async with self._lock(name):
            if self._known(name, spec) is None:
                config, _ = await self._sources(spec, replica)
                await self._publish(self._new(name, spec, replica), config)

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    def _known(self, name: str, spec: Spec) -> Record | None:
        self._stock.refresh(spec.id)
        record = self._stock.named(name)
        if record is not None:
            if (record.handle.id, record.handle.spec_hash) != (spec.id, spec.spec_hash):
                raise NameConflict(f"{record.folder} is the execution of another specification")
            return record
        if self._stock.is_foreign(name):
            raise NameConflict(f"{self._root / name} is there and is not ours: it is left alone")
        return None

    async def _sources(self, spec: Spec, replica: int) -> tuple[bytes, Body]:
        """Its bytes, and what of them a host is sent."""
        await engine.profile_of(binary_of(self._context, spec.definition))
        config = await self._fetch(spec)
        return config, await self._creator.body(spec, replica, config)

    def _new(self, name: str, spec: Spec, replica: int) -> Handle:
        return Handle(
            name=name,
            owner=self._context.owner,
            id=spec.id,
            replica=replica,
            spec_hash=spec.spec_hash,
            revision=spec.revision,
            digest=spec.digest,
            definition=binding.stored(spec.definition),
        )

    async def _fetch(self, spec: Spec) -> bytes:
        self._guard()
        return await self._context.fetch(spec)

    async def _publish(self, handle: Handle, config: bytes) -> Record:
        damaged = self._stock.is_damaged(handle.name)
        self._guard()
        record = self._stock.publish(handle, config)
        failpoints.reach("streams.prepared")
        if damaged:
            await self._look(self._hosts.all())  # it may run: nobody could tell that it is wanted
        return record

    # ---- starting

    async def start(self, spec: Spec, replica: int) -> Execution:
        """See base.py. A stream that its host refuses has begun and ended at once, with exit code 1."""
        name = binding.name_of(self._context, spec, replica)
        async with self._lock(name):
            await self._hosts.refresh()
            self._hosts.refuse_untold()
            record = self._known(name, spec)
            if record is None:
                config, body = await self._sources(spec, replica)
                new = self._new(name, spec, replica)
                if not self._stock.is_damaged(name):
                    return self._seen(await self._creator.create_new(new, spec, config, body))
                record = await self._publish(new, config)
            await self._hosts.deaths.settle()
            await self._resolve(record)
            if not record.running:
                config = await self._bytes(record, spec)
                body = await self._creator.body(spec, replica, config)
                await self._creator.create(record, spec, body)
            return self._seen(record)

    async def _resolve(self, record: Record) -> None:
        """Find out what became of a creation that was cut short: `watch` takes it up if it is there."""
        creating = record.handle.creating
        host = self._hosts.get(creating.host) if creating is not None else None
        if host is not None:
            await self._watches.look([host])
            if host.unanswered:
                raise StartFailed(f"host {host.handle.number} does not answer")

    async def _bytes(self, record: Record, spec: Spec) -> bytes:
        """The kept bytes, or fetched anew if they are gone or damaged."""
        file = record.folder / CONFIG
        try:
            if file.exists() and names.digest_of(config := file.read_bytes()) == spec.digest:
                return config
            config = await self._fetch(spec)
            self._guard()
            replace_file(file, config)
        except OSError as error:
            raise StartFailed(f"{file}: {error.strerror or error}") from error
        return config

    # ---- stopping and removing

    async def stop(self, execution: Execution, grace: float) -> Stopped:
        """See base.py, and `endings` for what stands for SIGTERM and SIGKILL."""
        self._stock.refresh(execution.id)
        await self._hosts.deaths.settle()
        record = self._stock.like(execution)
        if record is None or not record.running:
            return "drained"
        assert record.handle.life is not None
        host = self._hosts.get(record.handle.life.host)
        if host is None:
            await self._refresh_hosts()
            if not record.over.is_set():
                raise StillRunning(f"{execution.name}: its host runs, and can't be reached")
            return "drained"
        drained = await self._endings.stop(record, host, grace)
        return "drained" if drained else "killed"

    async def remove(self, execution: Execution) -> None:
        """See base.py."""
        async with self._lock(execution.name):
            self._stock.refresh(execution.id)
            record = self._stock.like(execution)
            if record is None:
                return
            await self._resolve(record)
            if record.uid != execution.uid:
                return
            if record.running:
                raise StillRunning(f"{execution.name} runs as stream {record.uid}")
            self._guard()
            try:
                leaving = withdraw(self._root, record.handle.owner, record.handle.name)
                self._stock.remove(record)
                failpoints.reach("streams.removing")
                if leaving is not None:
                    await asyncio.to_thread(shutil.rmtree, leaving)
            except OSError as error:
                raise unreachable(record.folder, error) from error

    # ---- hints, logs, metrics

    def events(self) -> AsyncIterator[str]:
        """See base.py."""
        return self._hints.listen()

    async def logs(
        self, execution: Execution, *, tail: int = 100, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        """See base.py. Of lives that have ended, the last lines; of this one, what its host logged."""
        self._stock.refresh(execution.id)
        record = self._stock.named(execution.name)
        if record is None:
            return
        life = record.handle.life
        host = self._hosts.get(life.host) if life is not None and record.running else None
        async for line in reading.lines_of(record, host, tail, follow):
            yield line

    async def metrics(self, execution: Execution) -> str:
        """See base.py."""
        self._stock.refresh(execution.id)
        record = self._stock.like(execution)
        if record is None or record.handle.life is None:
            return ""
        return await reading.metrics_of(record, self._hosts.get(record.handle.life.host))


def _leads(host: HostId) -> bool:
    return leads(Session(host.pid, host.ticks, host.boot))
