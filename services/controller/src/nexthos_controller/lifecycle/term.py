"""A term: everything that acts, from the moment this controller has the lease until it has not.

store -> (watches, executors' hints) -> queue -> look -> status, events
                                         service -> answers

Everything that is opened here is closed here, and leaving a term leaves every execution running. What
a controller has whether it leads or not is its `Site`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from nexthos_controller.api.leader import Answers
from nexthos_controller.api.service import Service
from nexthos_controller.cache.catalog import Surroundings
from nexthos_controller.cache.configurations import Facts
from nexthos_controller.cache.definitions import Desired
from nexthos_controller.execution import Owner
from nexthos_controller.executors.contract import Connection, Executor, LocalContext
from nexthos_controller.executors.instrumented import measured
from nexthos_controller.http.metrics import PipelineMetrics
from nexthos_controller.loop.reconciler import Controller
from nexthos_controller.loop.sources import Feeds
from nexthos_controller.runtime.context import Site
from nexthos_controller.settings import Settings, default_state_dir
from nexthos_controller.status.events import EventLog
from nexthos_controller.status.store import StatusStore
from nexthos_shared import engine
from nexthos_shared.errors import SettingsError
from nexthos_shared.nats.connection import ConnectOptions
from nexthos_shared.process.engine_user import engine_users_of

RUNNER_IMAGE = "nexthos/runner:dev"  # of the default engine, where the settings name none


@dataclass(frozen=True, slots=True)
class Term:
    """One term of leading."""

    controller: Controller
    answers: Answers
    feeds: Feeds
    state_dir: Path


@asynccontextmanager
async def lead(site: Site, known: str | None = None) -> AsyncIterator[Term]:
    """Act while this is entered. `known`: which installation the store was before.

    Raises SettingsError, EngineMissing, NotPermitted, StoreMissing, InstallationDiffers.
    """
    settings, store = site.settings, site.store
    installation = await store.installation(known)
    state_dir = settings.state_dir or default_state_dir(
        os.environ, settings.namespace, installation
    )
    async with AsyncExitStack() as stack:
        events = EventLog(
            store.events, f"nexthos/{settings.namespace}/{site.about.controller}", site.now
        )
        await stack.enter_async_context(events)
        if site.lease.takeover is not None:
            events.took_over(site.lease.takeover, site.lease.token)
        controller = _controller(site, installation, state_dir, events)
        for executor in controller.executors.values():
            await stack.enter_async_context(executor)
        await controller.statuses.load()
        metrics = PipelineMetrics(controller)
        site.registry.register(metrics)
        stack.callback(site.registry.unregister, metrics)
        await stack.enter_async_context(controller.queue)
        feeds = Feeds(controller, store, site.link, settings.resync, site.instruments, installation)
        await stack.enter_async_context(feeds)
        await feeds.caught_up.wait()
        about = replace(site.about, installation=installation)
        answers = Answers(controller, replace(site, about=about), feeds, events)
        metadata = {"namespace": settings.namespace, "installation": installation}
        version, replies = site.about.version, site.replies
        service = Service(site.link.nc, store.names, answers, version, metadata, replies)
        await stack.enter_async_context(service)
        yield Term(controller, answers, feeds, state_dir)


def _controller(site: Site, installation: str, state_dir: Path, events: EventLog) -> Controller:
    settings, store = site.settings, site.store
    surroundings = _surroundings(settings, site.options)
    facts = Facts(store.configs, surroundings)
    context = LocalContext(
        owner=Owner(settings.namespace, installation),
        fetch=facts.fetch,
        engines=surroundings.engines,
        images=surroundings.images,
        connections=surroundings.connections,
        state_dir=state_dir,
        guard=site.lease.guard,
        engine_users=surroundings.engine_users,
    )
    statuses = StatusStore(
        store.statuses,
        site.about.controller,
        site.now,
        events,
        site.lease.guard,
        site.instruments,
    )
    used = sorted({settings.executor, *settings.executors})  # what settings say anything about
    offered = {name: _executor(name, site, context) for name in used}
    return Controller(
        desired=Desired(),
        statuses=statuses,
        facts=facts,
        executors={n: measured(e, site.instruments.call) for n, e in offered.items()},
        default_executor=settings.executor,
        now=site.now,
        instruments=site.instruments,
        ready_debounce=settings.ready_debounce,
        bound=settings.workers,
    )


def _executor(name: str, site: Site, context: LocalContext) -> Executor:
    known, settings = site.executors, site.settings
    if name not in known:
        there = f"there is no such executor (there are: {', '.join(sorted(known))})"
        if name == settings.executor:
            raise SettingsError(f"NEXTHOS_EXECUTOR={name}: {there}", field="executor")
        raise SettingsError(f"executors.{name}: {there}", field=f"executors.{name}")
    return known[name](replace(context, options=settings.executors.get(name) or {}))


def _surroundings(settings: Settings, options: ConnectOptions) -> Surroundings:
    default = Connection(options.safe_url, options.creds)
    connections = {n: Connection(c.url, c.creds) for n, c in settings.connections.items()}
    engines = {n: e.binary for n, e in settings.engines.items() if e.binary is not None}
    images = {n: e.image for n, e in settings.engines.items() if e.image is not None}
    if settings.engine is not None or "default" not in engines:
        engines["default"] = settings.engine or engine.locate_engine()
    return Surroundings(
        engines=engines,
        images={"default": RUNNER_IMAGE, **images},
        connections={"default": default, **connections},
        engine_users=engine_users_of(settings.engine_user),
    )
