"""A term: everything that acts, from the moment this controller has the lease until it has not.

store -> (watches, executors' hints) -> queue -> look -> status, events
                                         service -> answers

Everything that is opened here is closed here, and leaving a term leaves every execution running. What
a controller has whether it leads or not is its `ControllerContext`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from nexthos_controller.api.leader import Answers
from nexthos_controller.api.service import Service
from nexthos_controller.cache.catalog import Catalog
from nexthos_controller.cache.configurations import Facts
from nexthos_controller.cache.definitions import Desired
from nexthos_controller.execution import Owner
from nexthos_controller.executors.contract import Connection, Executor, LocalContext
from nexthos_controller.executors.instrumented import measured
from nexthos_controller.http.metrics import PipelineMetrics
from nexthos_controller.loop.reconciler import Controller
from nexthos_controller.loop.sources import Sources
from nexthos_controller.runtime.context import ControllerContext
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
    sources: Sources
    state_dir: Path


@asynccontextmanager
async def lead(context: ControllerContext, known: str | None = None) -> AsyncIterator[Term]:
    """Act while this is entered. `known`: which installation the store was before.

    Raises SettingsError, EngineMissing, NotPermitted, StoreMissing, InstallationDiffers.
    """
    settings, store = context.settings, context.store
    installation = await store.installation(known)
    state_dir = settings.state_dir or default_state_dir(
        os.environ, settings.namespace, installation
    )
    async with AsyncExitStack() as stack:
        events = EventLog(
            store.events, f"nexthos/{settings.namespace}/{context.identity.controller}", context.now
        )
        await stack.enter_async_context(events)
        if context.lease.takeover is not None:
            events.took_over(context.lease.takeover, context.lease.token)
        controller = _controller(context, installation, state_dir, events)
        for executor in controller.executors.values():
            await stack.enter_async_context(executor)
        await controller.statuses.load()
        metrics = PipelineMetrics(controller)
        context.registry.register(metrics)
        stack.callback(context.registry.unregister, metrics)
        await stack.enter_async_context(controller.queue)
        sources = Sources(
            controller, store, context.link, settings.resync, context.instruments, installation
        )
        await stack.enter_async_context(sources)
        await sources.caught_up.wait()
        identity = replace(context.identity, installation=installation)
        answers = Answers(controller, replace(context, identity=identity), sources, events)
        metadata = {"namespace": settings.namespace, "installation": installation}
        version, replies = context.identity.version, context.replies
        service = Service(context.link.nc, store.names, answers, version, metadata, replies)
        await stack.enter_async_context(service)
        yield Term(controller, answers, sources, state_dir)


def _controller(
    context: ControllerContext, installation: str, state_dir: Path, events: EventLog
) -> Controller:
    settings, store = context.settings, context.store
    catalog = _catalog(settings, context.options)
    facts = Facts(store.configs, catalog)
    local = LocalContext(
        owner=Owner(settings.namespace, installation),
        fetch=facts.fetch,
        engines=catalog.engines,
        images=catalog.images,
        connections=catalog.connections,
        state_dir=state_dir,
        guard=context.lease.guard,
        engine_users=catalog.engine_users,
    )
    statuses = StatusStore(
        store.statuses,
        context.identity.controller,
        context.now,
        events,
        context.lease.guard,
        context.instruments,
    )
    used = sorted({settings.executor, *settings.executors})  # what settings say anything about
    offered = {name: _executor(name, context, local) for name in used}
    return Controller(
        desired=Desired(),
        statuses=statuses,
        facts=facts,
        executors={n: measured(e, context.instruments.call) for n, e in offered.items()},
        default_executor=settings.executor,
        now=context.now,
        instruments=context.instruments,
        ready_debounce=settings.ready_debounce,
        bound=settings.workers,
    )


def _executor(name: str, context: ControllerContext, local: LocalContext) -> Executor:
    known, settings = context.executors, context.settings
    if name not in known:
        there = f"there is no such executor (there are: {', '.join(sorted(known))})"
        if name == settings.executor:
            raise SettingsError(f"NEXTHOS_EXECUTOR={name}: {there}", field="executor")
        raise SettingsError(f"executors.{name}: {there}", field=f"executors.{name}")
    return known[name](replace(local, options=settings.executors.get(name) or {}))


def _catalog(settings: Settings, options: ConnectOptions) -> Catalog:
    default = Connection(options.safe_url, options.creds)
    connections = {n: Connection(c.url, c.creds) for n, c in settings.connections.items()}
    engines = {n: e.binary for n, e in settings.engines.items() if e.binary is not None}
    images = {n: e.image for n, e in settings.engines.items() if e.image is not None}
    if settings.engine is not None or "default" not in engines:
        engines["default"] = settings.engine or engine.locate_engine()
    return Catalog(
        engines=engines,
        images={"default": RUNNER_IMAGE, **images},
        connections={"default": default, **connections},
        engine_users=engine_users_of(settings.engine_user),
    )
