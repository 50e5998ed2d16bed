"""The contract of base.py, for processes. Decides nothing; what is known of what runs is in `stock`."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self
from weakref import WeakValueDictionary

import structlog

from nexthos_controller import failpoints
from nexthos_controller.execution import Execution, Listing, LogLine, Spec, Stopped, Stranger
from nexthos_controller.executors.contract import LocalContext, ReplicaExecutor
from nexthos_controller.executors.local import logfile
from nexthos_controller.executors.local.belongings import hand_over, open_up, read_theirs
from nexthos_controller.executors.local.binaries import binary_of, made_with
from nexthos_controller.executors.local.ending import end, until_engine_runs
from nexthos_controller.executors.local.folders import replace_file, sweep, unreachable, withdraw
from nexthos_controller.executors.local.place import place_of
from nexthos_controller.executors.local.processes import boot_id, process
from nexthos_controller.executors.local.shim import EXIT, spawn
from nexthos_controller.executors.process import adopt, command
from nexthos_controller.executors.process.handle import (
    CONFIG,
    PASSWORD,
    PREPARED,
    Handle,
    Life,
    metrics_of,
    publish,
)
from nexthos_controller.executors.process.record import Record
from nexthos_controller.executors.process.shim import shim_argv
from nexthos_controller.executors.process.stock import Stock
from nexthos_controller.executors.shared import binding
from nexthos_controller.executors.shared.hints import Hints
from nexthos_controller.executors.shared.lines import read_line
from nexthos_controller.executors.shared.ports import free_port
from nexthos_shared import engine, names
from nexthos_shared.errors import NameConflict, NexthosError, StartFailed, StillRunning
from nexthos_shared.model import Pipeline
from nexthos_shared.reasons import Problem

MAX_METRICS = 64 * 1024 * 1024  # bytes; an engine may write there what it likes

log = structlog.get_logger(__name__)


class ProcessExecutor(ReplicaExecutor):
    """Runs pipelines as processes of this machine."""

    name = "process"
    here = True

    def __init__(self, context: LocalContext) -> None:
        self._context = context
        self._guard = context.guard
        self._state_dir = context.state_dir.absolute()
        self._root = self._state_dir / "executions"
        self._hints = Hints()
        self._users = context.engine_users
        self._stock = Stock(self._root, context.owner, self._hints, self._users)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._growth = logfile.Growth()
        self._tasks: list[asyncio.Task[None]] = []
        self._place = ""

    # ---- opening and closing

    async def __aenter__(self) -> Self:
        """Adopt what runs: same PIDs, nothing restarted."""
        try:
            open_up(self._users, self._state_dir, self._root)
            self._place = place_of(self._state_dir)
            await asyncio.to_thread(sweep, self._root, self._context.owner)
        except OSError as error:
            raise unreachable(self._root, error) from error
        try:
            await self._stock.take_stock()
        except BaseException:
            await self._stock.close()
            raise
        # Nobody waits for what the engines say: a start that needs it asks by itself.
        works = (self._cut_logs(), self._know_engines())
        self._tasks = [asyncio.create_task(work, name="process executor") for work in works]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of pidfds, connections and tasks; what runs, runs on."""
        self._hints.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stock.close()

    async def _know_engines(self) -> None:
        """Ask each engine once what it is, before a start has to wait for it."""
        for binary in set(self._context.engines.values()):
            with contextlib.suppress(NexthosError):
                await engine.profile_of(binary)

    # ---- what can run, and what does

    def check(self, definition: Pipeline) -> list[Problem]:
        """See base.py."""
        return command.problems_of(self._context, definition)

    async def list(self) -> Listing:
        """See base.py."""
        await self._stock.take_stock()
        return self._listing(self._stock.all())

    async def find(self, pipeline_id: str) -> Listing:
        """See base.py."""
        await self._stock.refresh(pipeline_id)
        return self._listing(self._stock.of(pipeline_id))

    async def strangers(self) -> frozenset[Stranger]:
        """See base.py."""
        return await asyncio.to_thread(adopt.strangers, self._context.owner, self._users)

    def _listing(self, records: Iterable[Record]) -> Listing:
        # In an order that a restart does not change: a status would be written anew for nothing.
        ordered = sorted(
            records, key=lambda r: (r.handle.id, r.handle.replica, r.handle.name, r.uid)
        )
        seen = tuple(record.seen(self._place, self._outdated(record)) for record in ordered)
        return Listing(seen, frozenset({self._place}))

    def _outdated(self, record: Record) -> str:
        handle = record.handle
        if handle.life is None or handle.definition is None:
            return ""
        names = (handle.definition.get("engine"), handle.definition.get("connection"))
        today = made_with(self._context, *(str(name or "default") for name in names))
        return binding.outdated(handle.life.made_with, today)

    # ---- preparing

    async def prepare(self, spec: Spec, replica: int) -> None:
        """See base.py."""
        async with self._lock(self._name(spec, replica)):
            await self._prepared(spec, replica)

    def _name(self, spec: Spec, replica: int) -> str:
        return binding.name_of(self._context, spec, replica)

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    async def _prepared(self, spec: Spec, replica: int) -> Record:
        name = self._name(spec, replica)
        await self._stock.refresh(spec.id)
        record = self._stock.named(name)
        if record is not None:
            if (record.handle.id, record.handle.spec_hash) != (spec.id, spec.spec_hash):
                raise NameConflict(f"{record.folder} is the execution of another specification")
            return record
        if self._stock.is_foreign(name):
            raise NameConflict(f"{self._root / name} is there and is not ours: it is left alone")
        await engine.profile_of(binary_of(self._context, spec.definition))
        config = await self._fetch(spec)
        takes_metrics = await binding.leaves_metrics(config)
        return self._publish(self._new_handle(spec, replica, takes_metrics), config)

    async def _fetch(self, spec: Spec) -> bytes:
        self._guard()
        return await self._context.fetch(spec)

    def _new_handle(self, spec: Spec, replica: int, takes_metrics: bool) -> Handle:
        return Handle(
            name=self._name(spec, replica),
            owner=self._context.owner,
            id=spec.id,
            replica=replica,
            spec_hash=spec.spec_hash,
            revision=spec.revision,
            digest=spec.digest,
            takes_metrics=takes_metrics,
            definition=binding.stored(spec.definition),
        )

    def _publish(self, handle: Handle, config: bytes) -> Record:
        folder = self._root / handle.name
        self._guard()
        try:
            if self._stock.is_damaged(handle.name):
                replace_file(folder / CONFIG, config)
                replace_file(folder / PREPARED, handle.to_json())
                record = Record(handle, folder)
                self._stock.save(record, handle)
            else:
                publish(self._root, handle, config)
                record = Record(handle, folder)
        except FileExistsError as error:
            raise NameConflict(f"{folder} is there and is not ours: it is left alone") from error
        except OSError as error:
            raise StartFailed(f"{folder}: {error.strerror or error}") from error
        failpoints.reach("process.prepared")
        return self._stock.add(record)

    # ---- starting

    async def start(self, spec: Spec, replica: int) -> Execution:
        """See base.py."""
        async with self._lock(self._name(spec, replica)):
            record = await self._prepared(spec, replica)
            if not record.running:
                await self._have_bytes(record, spec)
                binary = binary_of(self._context, spec.definition)
                profile = await engine.profile_of(binary)
                life = self._next_life(record, spec)
                handle = replace(
                    record.handle,
                    definition=record.handle.definition or binding.stored(spec.definition),
                    spawning=life,
                    starts=record.handle.starts + 1,
                )
                argv = command.engine_argv(
                    binary, profile, spec.definition, handle, life, record.folder
                )
                self._guard()
                self._spawn(record, handle, argv, spec.definition)
            return record.seen(self._place)

    async def _have_bytes(self, record: Record, spec: Spec) -> None:
        """The kept bytes, or fetched anew if they are gone or damaged."""
        file = record.folder / CONFIG
        try:
            if file.exists() and names.digest_of(file.read_bytes()) == spec.digest:
                return
            config = await self._fetch(spec)
            self._guard()
            replace_file(file, config)
        except OSError as error:
            raise StartFailed(f"{file}: {error.strerror or error}") from error

    def _next_life(self, record: Record, spec: Spec) -> Life:
        return Life(
            pid=0,
            ticks=0,
            boot=boot_id(),
            port=free_port(self._stock.ports()),
            token=secrets.token_hex(16),
            started_at=time.time(),
            made_with=made_with(self._context, spec.definition.engine, spec.definition.connection),
            log_offset=record.log.stat().st_size if record.log.exists() else 0,
            user=command.user_of(self._users, self._stock.users(record.handle.name), record.handle),
        )

    def _spawn(
        self, record: Record, handle: Handle, argv: Sequence[str], definition: Pipeline
    ) -> None:
        """From 'nothing runs' to 'it is watched', without an await: a cancellation finds all or nothing."""
        connection = binding.connection_of(self._context, definition)
        env = command.environment_of(connection, definition, handle)
        before, life = record.handle, handle.spawning
        assert life is not None
        user = command.become(self._users, life)
        try:
            record.exit_file.unlink(missing_ok=True)
            metrics_of(record.folder, life).unlink(missing_ok=True)
            replace_file(record.folder / PASSWORD, life.token.encode())
            own = hand_over(user, record.folder, reads=(CONFIG,), writes=(EXIT,))
            self._stock.save(record, handle)
            failpoints.reach("process.spawning")
            pid = spawn(
                shim_argv(record.exit_file, handle, argv),
                env=env,
                cwd=command.workdir_of(definition, own),
                log=record.log,
                user=user,
            )
        except OSError as error:
            self._stock.keep(record, before)
            where = f" ({error.filename})" if error.filename else ""
            raise StartFailed(
                f"pipeline {handle.id!r} could not be started: {error.strerror or error}{where}"
            ) from error
        failpoints.reach("process.spawned")
        found = process(pid)
        life = replace(life, pid=pid, ticks=found.ticks if found else 0)
        record.begin(replace(handle, life=life, spawning=None))
        self._stock.keep(record, record.handle)
        self._stock.watch(record)
        self._hints.add(handle.id)
        failpoints.reach("process.started")

    # ---- stopping and removing

    async def stop(self, execution: Execution, grace: float) -> Stopped:
        """See base.py."""
        await self._stock.refresh(execution.id)
        record = self._stock.like(execution)
        if record is None or not record.running:
            return "drained"
        session, over = record.handle.session, record.over
        assert session is not None
        if record.ready is None:
            await until_engine_runs(session, over, self._stock.deaths)
        life = record.handle.life
        if over.is_set() or life is None or life.uid != execution.uid:
            return "drained"
        self._guard()
        # Noted before the signal: whoever judges the end must not count it as a crash. No await up to
        # the signal: a stop that is cancelled here would leave the note, and no signal sent.
        self._stock.keep(record, replace(record.handle, life=replace(life, stopping=True)))
        failpoints.reach("process.stopping")
        drained = await end(session, over, self._stock.deaths, grace, self._guard)
        return "drained" if drained else "killed"

    async def remove(self, execution: Execution) -> None:
        """See base.py."""
        async with self._lock(execution.name):
            await self._stock.refresh(execution.id)
            record = self._stock.like(execution)
            if record is None:
                return
            if record.running:
                raise StillRunning(f"{execution.name} runs as process {execution.uid}")
            self._guard()
            try:
                leaving = withdraw(self._root, record.handle.owner, record.handle.name)
                self._stock.remove(record)
                failpoints.reach("process.removing")
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
        """See base.py."""
        await self._stock.refresh(execution.id)
        record = self._stock.named(execution.name)
        if record is None:
            return
        lines, position = await asyncio.to_thread(logfile.last_lines, record.log, tail, follow)
        for raw in lines:
            yield read_line(raw, execution.id)
        if follow:
            follower = logfile.Follower(record.log, position, execution.id)
            async for line in follower.follow(
                lambda: record.running and record.uid == execution.uid
            ):
                yield line

    async def metrics(self, execution: Execution) -> str:
        """See base.py."""
        await self._stock.refresh(execution.id)
        record = self._stock.like(execution)
        life = record.handle.life if record is not None else None
        if record is None or life is None:
            return ""
        if record.running:
            ours = ("ready", "not-ready")
            if (
                life.port
                and life.token
                and await engine.is_ready(life.endpoint, life.token) in ours
            ):
                return await engine.scrape(life.endpoint, life.token)
            return ""
        return read_theirs(record.metrics_file, MAX_METRICS, life.user)

    async def _cut_logs(self) -> None:
        while True:
            running = {r.log: r for r in self._stock.all() if r.running}
            for file in self._growth.too_large(running):
                note = running[file].handle.id
                try:
                    await asyncio.to_thread(logfile.cut, file, self._growth.limit, note)
                except OSError as error:
                    log.warning("a log can't be cut", file=str(file), error=error.strerror)
            await asyncio.sleep(self._growth.pause)
