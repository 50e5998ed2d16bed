"""Wiring: from settings to a controller that runs. Everything that is opened here is closed here.

NATS -> store -> (watch pipelines, watch objects, executors' hints) -> queue -> look -> status
                                                   micro service, HTTP -> answers
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from nexthos_controller.alone import only_one_here, refuse_second
from nexthos_controller.answers import About, Answers
from nexthos_controller.book import StatusBook
from nexthos_controller.controller import Controller
from nexthos_controller.desired import Desired
from nexthos_controller.executors.base import Connection, Executor, ExecutorContext, Owner
from nexthos_controller.executors.process import ProcessExecutor
from nexthos_controller.facts import Facts
from nexthos_controller.feeds import Feeds
from nexthos_controller.http import PipelineMetrics, serve_http
from nexthos_controller.service import Service
from nexthos_controller.settings import Settings, default_state_dir
from nexthos_controller.surroundings import Surroundings
from nexthos_shared import engine
from nexthos_shared.errors import SettingsError
from nexthos_shared.names import Names
from nexthos_shared.nats_client import ConnectOptions, Link, connect
from nexthos_shared.stores import Store

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


Factories = Mapping[str, Callable[[ExecutorContext], Executor]]


@asynccontextmanager
async def running_controller(
    settings: Settings, options: ConnectOptions, executors: Factories = EXECUTORS
) -> AsyncIterator[Running]:
    """A controller that acts while this is entered. Leaving it leaves every execution running.

    `executors` are those that settings may name. Raises SettingsError, EngineMissing, NotPermitted,
    StoreMissing, and TerminalError with AnotherController.
    """
    async with AsyncExitStack() as stack:
        health, registry, names = Health(), CollectorRegistry(), Names(settings.namespace)
        # Before NATS: a controller that waits for its server is alive, and says that it is not ready.
        http = await stack.enter_async_context(
            serve_http(settings.http, registry, lambda: health.ready)
        )
        name = f"{settings.namespace} controller"
        link = await stack.enter_async_context(connect(options, name=name, daemon=True))
        await refuse_second(link.nc, names)
        store = await Store.open(link, names, create=True)
        about = await _about(settings, options, await store.installation())
        state_dir = settings.state_dir or default_state_dir(
            os.environ, settings.namespace, about.installation
        )
        stack.enter_context(only_one_here(state_dir))
        controller = _controller(settings, options, store, about, state_dir, executors)
        for executor in controller.executors.values():
            await stack.enter_async_context(executor)
        controller.book.load(await store.statuses.snapshot())
        registry.register(PipelineMetrics(controller))
        answers = Answers(controller, about, lambda: health.ready)
        await stack.enter_async_context(controller.queue)
        feeds = Feeds(controller, store, link, settings.resync)
        await stack.enter_async_context(feeds)
        await feeds.caught_up.wait()
        metadata = {"namespace": settings.namespace, "installation": about.installation}
        await stack.enter_async_context(Service(link.nc, names, answers, about.version, metadata))
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


async def _about(settings: Settings, options: ConnectOptions, installation: str) -> About:
    binary = settings.engine or engine.locate_engine()
    return About(
        controller=f"{socket.gethostname()}-{secrets.token_hex(3)}",
        version=version("nexthos-controller"),
        namespace=settings.namespace,
        installation=installation,
        started_at=time.time(),
        store=options.safe_url,
        engine=f"{binary} ({await engine.engine_version(binary)})",
    )


def _controller(
    settings: Settings,
    options: ConnectOptions,
    store: Store,
    about: About,
    state_dir: Path,
    executors: Factories,
) -> Controller:
    surroundings = _surroundings(settings, options)
    facts = Facts(store.configs, surroundings)
    context = ExecutorContext(
        owner=Owner(settings.namespace, about.installation),
        fetch=facts.fetch,
        engines=surroundings.engines,
        connections=surroundings.connections,
        state_dir=state_dir,
    )
    now = steady_clock()
    return Controller(
        desired=Desired(),
        book=StatusBook(store.statuses, about.controller, now),
        facts=facts,
        executors={settings.executor: _executor(settings.executor, executors, context)},
        default_executor=settings.executor,
        now=now,
        bound=settings.workers,
    )


def _executor(name: str, known: Factories, context: ExecutorContext) -> Executor:
    try:
        return known[name](context)
    except KeyError:
        offered = ", ".join(sorted(known))
        raise SettingsError(
            f"NEXTHOS_EXECUTOR={name}: there is no such executor (there are: {offered})",
            field="executor",
        ) from None


def _surroundings(settings: Settings, options: ConnectOptions) -> Surroundings:
    default = Connection(options.safe_url, options.creds)
    connections = {n: Connection(c.url, c.creds) for n, c in settings.connections.items()}
    engines = {n: e.binary for n, e in settings.engines.items()}
    return Surroundings(
        engines={"default": settings.engine or engine.locate_engine(), **engines},
        connections={"default": default, **connections},
    )
