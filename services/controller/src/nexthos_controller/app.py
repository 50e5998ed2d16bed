"""Wiring: from settings to a controller that runs. Everything that is opened here is closed here.

NATS -> store -> (watch pipelines, watch objects, executors' hints) -> queue -> look -> status
                                                   micro service, HTTP -> answers
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError
from prometheus_client import CollectorRegistry

from nexthos_controller.answers import About, Answers
from nexthos_controller.book import StatusBook
from nexthos_controller.controller import Controller
from nexthos_controller.desired import Desired
from nexthos_controller.executors.base import Connection, Executor, ExecutorContext, Owner
from nexthos_controller.executors.process import ProcessExecutor
from nexthos_controller.facts import Facts
from nexthos_controller.http import PipelineMetrics, serve_http
from nexthos_controller.service import Service
from nexthos_controller.settings import Settings, default_state_dir
from nexthos_controller.surroundings import Surroundings
from nexthos_shared import engine
from nexthos_shared.errors import SettingsError, TerminalError
from nexthos_shared.names import Names
from nexthos_shared.nats_client import ConnectOptions, Link, connect
from nexthos_shared.reasons import Reason
from nexthos_shared.stores import Store
from nexthos_shared.watch import Snapshot, watch, watch_configs

log = structlog.get_logger(__name__)

EXECUTORS: Mapping[str, Callable[[ExecutorContext], Executor]] = {"process": ProcessExecutor}


@dataclass(frozen=True, slots=True)
class Running:
    """A controller that runs, for those who started it (main, `nexthos dev`, tests)."""

    controller: Controller
    answers: Answers
    store: Store
    about: About
    http: str
    state_dir: Path


@dataclass(slots=True)
class Health:
    """Whether the controller acts: it has caught up with the store, and the store is connected."""

    link: Link | None = None

    @property
    def ready(self) -> bool:
        """For /readyz and `status`."""
        return self.link is not None and self.link.nc.is_connected


def steady_clock() -> Callable[[], float]:
    """Seconds since the epoch that never jump: wall time at the start, monotonic from there on."""
    wall, monotonic = time.time(), time.monotonic()
    return lambda: wall + (time.monotonic() - monotonic)


@asynccontextmanager
async def running_controller(settings: Settings, options: ConnectOptions) -> AsyncIterator[Running]:
    """A controller that acts while this is entered. Leaving it leaves every execution running."""
    async with AsyncExitStack() as stack:
        now = steady_clock()
        default_engine = settings.engine or engine.locate_engine()
        health = Health()
        registry = CollectorRegistry()
        # Before NATS: a controller that waits for its server is alive, and says that it is not ready.
        http = await stack.enter_async_context(
            serve_http(settings.http, registry, lambda: health.ready)
        )
        link = await stack.enter_async_context(
            connect(options, name=f"{settings.namespace} controller", daemon=True)
        )
        names = Names(settings.namespace)
        await refuse_second(link.nc, names)
        store = await Store.open(link, names, create=True)
        installation = await store.installation()
        state_dir = settings.state_dir or default_state_dir(
            os.environ, settings.namespace, installation
        )
        stack.enter_context(only_one_here(state_dir))
        about = About(
            controller=f"{socket.gethostname()}-{secrets.token_hex(3)}",
            version=version("nexthos-controller"),
            namespace=settings.namespace,
            installation=installation,
            started_at=now(),
            store=options.safe_url,
            engine=f"{default_engine} ({await engine.engine_version(default_engine)})",
        )
        surroundings = _surroundings(settings, options, default_engine)
        facts = Facts(store.configs, surroundings)
        context = ExecutorContext(
            owner=Owner(settings.namespace, installation),
            fetch=facts.fetch,
            engines=surroundings.engines,
            connections=surroundings.connections,
            state_dir=state_dir,
        )
        executors = {settings.executor: _executor(settings.executor, context)}
        for executor in executors.values():
            await stack.enter_async_context(executor)
        book = StatusBook(store.statuses, about.controller, now)
        book.load(await store.statuses.snapshot())
        controller = Controller(
            desired=Desired(),
            book=book,
            facts=facts,
            executors=executors,
            default_executor=settings.executor,
            now=now,
            bound=settings.workers,
        )
        answers = Answers(controller, about, lambda: health.ready)
        await stack.enter_async_context(controller.queue)
        feeds = Feeds(controller, store, link, settings.resync)
        await stack.enter_async_context(feeds)
        await feeds.caught_up.wait()
        metadata = {"namespace": settings.namespace, "installation": installation}
        await stack.enter_async_context(Service(link.nc, names, answers, about.version, metadata))
        registry.register(PipelineMetrics(controller))
        health.link = link
        log.info(
            "controller runs",
            controller=about.controller,
            namespace=settings.namespace,
            store=about.store,
            engine=about.engine,
            http=http,
            state_dir=str(state_dir),
        )
        yield Running(controller, answers, store, about, http, state_dir)
        log.info("controller ends; what runs is left running")


def _executor(name: str, context: ExecutorContext) -> Executor:
    try:
        return EXECUTORS[name](context)
    except KeyError:
        offered = ", ".join(sorted(EXECUTORS))
        raise SettingsError(
            f"NEXTHOS_EXECUTOR={name}: there is no such executor (there are: {offered})",
            field="executor",
        ) from None


def _surroundings(
    settings: Settings, options: ConnectOptions, default_engine: Path
) -> Surroundings:
    default = Connection(options.safe_url, options.creds)
    connections = {n: Connection(c.url, c.creds) for n, c in settings.connections.items()}
    engines = {n: e.binary for n, e in settings.engines.items()}
    return Surroundings(
        engines={"default": default_engine, **engines},
        connections={"default": default, **connections},
    )


@contextmanager
def only_one_here(state_dir: Path) -> Iterator[None]:
    """Hold the state folder: the system lets go of it when this process ends, however it ends."""
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (state_dir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TerminalError(
                f"another controller on this machine uses {state_dir}; stop it first",
                reason=Reason.ANOTHER_CONTROLLER,
            ) from error
        yield


async def refuse_second(nc: Client, names: Names) -> None:
    """Raise if a controller of this namespace answers. Its lease comes with failover."""
    try:
        reply = await nc.request(f"$SRV.PING.{names.service}", b"", timeout=1.0)
    except NatsError:
        return
    raise TerminalError(
        f"a controller of namespace {names.namespace!r} runs already ({reply.data.decode()[:120]}); "
        "stop it, or choose another NEXTHOS_NAMESPACE",
        reason=Reason.ANOTHER_CONTROLLER,
    )


class Feeds:
    """What fills the queue: the watch on entries, the watch on objects, the executors' hints."""

    def __init__(self, controller: Controller, store: Store, link: Link, resync: float) -> None:
        self._controller = controller
        self._store = store
        self._link = link
        self._resync = resync
        self._tasks: list[asyncio.Task[None]] = []
        self._objects_known = asyncio.Event()
        self.caught_up = asyncio.Event()

    async def __aenter__(self) -> Feeds:
        feeds = [self._entries(), self._objects()]
        feeds += [self._hints(executor) for executor in self._controller.executors.values()]
        self._tasks = [asyncio.create_task(feed) for feed in feeds]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _entries(self) -> None:
        queue, desired = self._controller.queue, self._controller.desired
        await self._objects_known.wait()  # or a boot would ask for each object by itself
        async for item in watch(self._store.pipelines, self._link, resync=self._resync):
            keys, live = desired.take(item)
            if isinstance(item, Snapshot):
                keys |= set(desired.keys()) | self._controller.book.keys() | await self._owned()
            for key in keys:
                queue.add(key, live=live)
            self.caught_up.set()

    async def _owned(self) -> set[str]:
        """Pipelines of which something exists: their key may be gone."""
        owned: set[str] = set()
        for name, executor in self._controller.executors.items():
            try:
                async with asyncio.timeout(30.0):
                    owned |= {e.id for e in (await executor.list()).executions}
            except Exception as error:
                log.warning("executor did not list", executor=name, error=str(error))
        return owned

    async def _objects(self) -> None:
        facts, queue = self._controller.facts, self._controller.queue
        async for item in watch_configs(self._store.configs, self._link, resync=self._resync):
            if isinstance(item, Snapshot):
                first = not self._objects_known.is_set()
                changed = facts.replace(item.entries)
                self._objects_known.set()
                for key in () if first else changed:
                    queue.add(key)
            else:
                facts.change(item.entry)
                queue.add(item.entry.id)

    async def _hints(self, executor: Executor) -> None:
        with suppress(asyncio.CancelledError):
            async for key in executor.events():
                self._controller.queue.add(key)
