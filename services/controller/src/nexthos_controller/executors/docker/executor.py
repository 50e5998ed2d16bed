"""The contract of base.py, for containers. Decides nothing; what is known of what runs is in `stock`."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Any, Self
from weakref import WeakValueDictionary

import structlog

from nexthos_controller import failpoints
from nexthos_controller.execution import Execution, Listing, LogLine, Spec, Stopped, Stranger
from nexthos_controller.executors.contract import Connection, ExecutorContext, ReplicaExecutor
from nexthos_controller.executors.docker import ending, logs, options, variables
from nexthos_controller.executors.docker.archive import packed, unpacked
from nexthos_controller.executors.docker.container import ENGINE_CREDS, STORE_CREDS, Plan
from nexthos_controller.executors.docker.daemon import Daemon, DaemonRefused, Gone
from nexthos_controller.executors.docker.images import Images
from nexthos_controller.executors.docker.labels import Labels, labels_filter
from nexthos_controller.executors.docker.life import PORT, Life
from nexthos_controller.executors.docker.settings import read_settings
from nexthos_controller.executors.docker.stock import Record, Stock
from nexthos_controller.executors.docker.watch import Watch
from nexthos_controller.executors.shared import binding
from nexthos_controller.executors.shared.hints import Hints
from nexthos_controller.executors.shared.ports import free_port
from nexthos_shared import engine, names
from nexthos_shared.errors import (
    CannotRunHere,
    EngineMissing,
    ExecutorUnreachable,
    NameConflict,
    StartFailed,
    StillRunning,
)
from nexthos_shared.model import Pipeline
from nexthos_shared.nats.urls import is_loopback
from nexthos_shared.object_format import MAX_CONFIG_BYTES
from nexthos_shared.reasons import Problem, Reason

MOST_METRICS = 16 * 1024 * 1024  # bytes of what an engine left when it ended
AS_FAST = 3  # times in a row that a hand may be faster in making a container
OPEN_WITHIN = 5.0  # seconds to hear of a daemon; one that is away then is heard later
CONFIG, METRICS = f"{options.FOLDER}/config.yaml", f"{options.FOLDER}/metrics.prom"

log = structlog.get_logger(__name__)


class DockerExecutor(ReplicaExecutor):
    """Runs pipelines as containers of one Docker daemon."""

    name = "docker"

    def __init__(self, context: ExecutorContext) -> None:
        """Raises SettingsError for `executors.docker` that can't be used."""
        self._context = context
        self._guard = context.guard
        self.settings = read_settings(context.options)
        self.daemon = Daemon(self.settings)
        self._hints = Hints()
        loopback = self.settings.reach == "loopback"
        self._stock = Stock(self.daemon, context.owner, self._hints, loopback=loopback)
        self._images = Images(self.daemon, self.settings.pull == "missing")
        labels = labels_filter(context.owner)
        self._watch = Watch(self.daemon, labels, self._stock.changed, self._stock.missed)
        self._watching: asyncio.Task[None] | None = None
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    # ---- opening and closing

    async def __aenter__(self) -> Self:
        """Take up what runs: same containers, nothing restarted. A daemon that is away is waited for."""
        self._watching = asyncio.create_task(self._watch.run(), name="docker events")
        with contextlib.suppress(TimeoutError, ExecutorUnreachable):
            async with asyncio.timeout(OPEN_WITHIN):
                await self._stock.refresh()  # listening first, or a change in between would be lost
                await self._watch.listens.wait()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of connections and tasks; what runs, runs on."""
        self._hints.close()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await self._images.close()
        await self._stock.close()
        self.daemon.close()

    # ---- what can run, and what does

    def check(self, definition: Pipeline) -> list[Problem]:
        """See base.py."""
        problems = []
        if definition.engine not in self._context.images:
            problems.append(binding.unknown_engine(definition.engine))
        if definition.connection not in self._context.connections:
            problems.append(binding.unknown_connection(definition.connection))
        if is_loopback(self._store().url) and self.settings.network != "host":
            problems.append(binding.cannot("executor", self._out_of_reach()))
        problems += variables.problems_of(definition.env)
        return [*problems, *options.problems_of(definition, self.settings)]

    def _out_of_reach(self) -> str:
        return (
            f"in a container {self._store().url} is the container itself: name an address of NATS that "
            "it can reach in the controller's settings (connections.default.url)"
        )

    async def list(self) -> Listing:
        """See base.py."""
        records = await self._stock.refresh()
        await self._images.refresh()
        return await self._listing(records)

    async def strangers(self) -> frozenset[Stranger]:
        """See base.py."""
        return await self._stock.strangers()

    async def find(self, pipeline_id: str) -> Listing:
        """See base.py."""
        return await self._listing(await self._stock.refresh(pipeline_id))

    async def _listing(self, records: Iterable[Record]) -> Listing:
        place = await self.daemon.place()
        seen = [e for r in records if (e := r.seen(place, self._outdated(r))) is not None]
        seen.sort(key=lambda e: (e.id, e.replica, e.name, e.uid))
        return Listing(tuple(seen), frozenset({place}))

    def _outdated(self, record: Record) -> str:
        if record.life is None:
            return ""
        before = record.life.labels.made_with
        named = {kind: name for key in before if " " in key for kind, name in [key.split(" ", 1)]}
        wanted = named.get("engine", "default")
        image = self._images.ids.get(self._context.images.get(wanted, ""))
        today = binding.made_with(self._context, wanted, image, named.get("connection", "default"))
        return binding.outdated(before, today)

    # ---- preparing

    async def prepare(self, spec: Spec, replica: int) -> None:
        """See base.py."""
        async with self._lock(self._name(spec, replica)):
            await self._prepared(spec, replica)

    def _name(self, spec: Spec, replica: int) -> str:
        return binding.name_of(self._context, spec, replica)

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    async def _prepared(self, spec: Spec, replica: int) -> Life:
        name = self._name(spec, replica)
        life = await self._named(name, spec)
        if life is not None and not life.altered:
            return life
        config = await self._fetch(spec)
        plan = await self._plan(spec, replica, config)
        created = self._created(plan)
        for _ in range(AS_FAST):
            await self._create(name, created, life)
            life = await self._named(name, spec)
            if life is None:
                raise NameConflict(f"container {name} is there and is not ours: it is left alone")
            if not life.altered:  # else a hand was faster, and made another one under that name
                return life
        raise StartFailed(f"container {name} is made by hand each time, with something else")

    async def _create(self, name: str, created: Mapping[str, Any], altered: Life | None) -> None:
        self._guard()
        try:
            if altered is not None:  # it keeps running under another name until it is replaced
                other = f"{name}.altered-{secrets.token_hex(3)}"
                await self.daemon.rename(altered.container, other)
            await self.daemon.create(name, created)
        except Gone as error:
            raise StartFailed(f"docker: {error}") from error
        except DaemonRefused as error:
            if error.status != 409:
                raise
        failpoints.reach("docker.created")

    @staticmethod
    def _created(plan: Plan) -> dict[str, Any]:
        """What it is created with. Raises CannotRunHere: settings may allow less than they did."""
        try:
            return plan.config()
        except options.OptionRefused as error:
            words = f"executor_options: {error}"
            raise CannotRunHere(words, field="executor_options") from error

    async def _named(self, name: str, spec: Spec) -> Life | None:
        """Ours of that name, if there is one. Raises NameConflict if it is of another specification."""
        record = await self._stock.look(name)
        if record is None or record.life is None:
            return None
        labels = record.life.labels
        if (labels.id, labels.spec_hash) != (spec.id, spec.spec_hash) and not record.life.altered:
            raise NameConflict(f"container {name} is the execution of another specification")
        return record.life

    async def _fetch(self, spec: Spec) -> bytes:
        self._guard()
        return await self._context.fetch(spec)

    async def _plan(self, spec: Spec, replica: int, config: bytes) -> Plan:
        definition = spec.definition
        name = self._context.images.get(definition.engine)
        if name is None:
            words = binding.unknown_engine(definition.engine).message
            raise EngineMissing(words, reason=Reason.UNKNOWN_ENGINE, field="engine")
        image = await self._images.have(name)
        connection = binding.connection_of(self._context, definition)
        on_host = self.settings.network == "host"
        labels = Labels(
            owner=self._context.owner,
            id=spec.id,
            replica=replica,
            revision=spec.revision,
            version=definition.version or "",
            digest=spec.digest,
            spec_hash=spec.spec_hash,
            stop_timeout=definition.stop_timeout,
            made_with=binding.made_with(
                self._context, definition.engine, image.id, definition.connection
            ),
        )
        return Plan(
            spec=spec,
            replica=replica,
            labels=labels,
            image=image,
            settings=self.settings,
            connection=connection,
            store=self._store(),
            port=free_port(()) if on_host else PORT,
            token=secrets.token_hex(16),
            takes_metrics=await binding.leaves_metrics(config),
        )

    def _store(self) -> Connection:
        own = self.settings.store
        return Connection(own.url, own.creds) if own else self._context.connections["default"]

    # ---- starting

    async def start(self, spec: Spec, replica: int) -> Execution:
        """See base.py."""
        async with self._lock(self._name(spec, replica)):
            life = await self._prepared(spec, replica)
            if not life.running:
                await self._begin(life, spec)
            record = await self._stock.look(life.container)
            seen = record.seen(await self.daemon.place(), "") if record is not None else None
            if seen is None:
                raise StartFailed(f"container {life.name} was removed while it was started")
            self._hints.add(spec.id)
            return seen

    async def _begin(self, life: Life, spec: Spec) -> None:
        try:
            if life.started:
                await self._have_bytes(life, spec)
            if files := self._credentials(spec):
                self._guard()
                tar = packed(files, self.settings.user)
                await self.daemon.put(life.container, options.FOLDER, tar)
            self._guard()
            failpoints.reach("docker.starting")
            await self.daemon.start(life.container)
            failpoints.reach("docker.started")
        except Gone as error:
            raise StartFailed(f"docker: {error}") from error

    async def _have_bytes(self, life: Life, spec: Spec) -> None:
        """The kept bytes are there and intact, or the store still has them for the runner to fetch."""
        with contextlib.suppress(Gone):
            tar = await self.daemon.get(life.container, CONFIG, MAX_CONFIG_BYTES)
            kept = unpacked(tar, MAX_CONFIG_BYTES)
            if names.digest_of(kept) == spec.digest:
                return
        await self._fetch(spec)

    def _credentials(self, spec: Spec) -> dict[str, bytes]:
        """Files that must be there at each start; the runner drops its own before the engine begins."""
        connection = binding.connection_of(self._context, spec.definition)
        wanted = ((ENGINE_CREDS, connection.creds), (STORE_CREDS, self._store().creds))
        try:
            return {name: file.read_bytes() for name, file in wanted if file is not None}
        except OSError as error:
            words = f"credentials file {error.filename}: {error.strerror}"
            raise StartFailed(words) from error

    # ---- stopping and removing

    async def stop(self, execution: Execution, grace: float) -> Stopped:
        """See base.py."""
        life = await self._life_of(execution)
        if life is None or not life.running:
            return "drained"
        try:
            drained = await ending.end(
                self.daemon, self._stock, life.container, execution.uid, grace, self._guard
            )
            return "drained" if drained else "killed"
        except Gone:
            return "drained"
        finally:
            self._hints.add(execution.id)

    async def _life_of(self, execution: Execution) -> Life | None:
        """That very life, if it is the last one of its container; asked of the daemon."""
        container = execution.uid.partition("-")[0] or execution.name
        record = await self._stock.look(container)
        life = record.life if record is not None else None
        return life if life is not None and life.uid == execution.uid else None

    async def remove(self, execution: Execution) -> None:
        """See base.py."""
        async with self._lock(execution.name):
            life = await self._life_of(execution)
            if life is None:
                return
            if life.running:
                raise StillRunning(f"{execution.name} runs as container {life.container[:12]}")
            self._guard()
            failpoints.reach("docker.removing")
            with contextlib.suppress(Gone):
                try:
                    await self.daemon.remove(life.container)
                except DaemonRefused as error:
                    raise StillRunning(str(error)) from error
            await self._stock.look(life.container)

    # ---- hints, logs, metrics

    def events(self) -> AsyncIterator[str]:
        """See base.py."""
        return self._hints.listen()

    async def logs(
        self, execution: Execution, *, tail: int = 100, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        """See base.py."""
        container = execution.uid.partition("-")[0] or execution.name
        with contextlib.suppress(Gone):
            if not follow:
                for line in await logs.read_tail(self.daemon, container, tail, execution.id):
                    yield line
                return
            following = logs.read_follow(self.daemon, container, tail, execution.id)
            async with contextlib.aclosing(following) as lines:
                async for line in lines:
                    yield line

    async def metrics(self, execution: Execution) -> str:
        """See base.py."""
        life = await self._life_of(execution)
        if life is None or not life.started:
            return ""
        if not life.running:
            with contextlib.suppress(Gone):
                tar = await self.daemon.get(life.container, METRICS, MOST_METRICS)
                return unpacked(tar, MOST_METRICS).decode("utf-8", "replace")
            return ""
        ours = ("ready", "not-ready")
        if life.endpoint and await engine.is_ready(life.endpoint, life.token) in ours:
            return await engine.scrape(life.endpoint, life.token)
        return ""
