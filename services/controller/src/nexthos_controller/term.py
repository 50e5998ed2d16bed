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

from nexthos_controller.answers import Answers
from nexthos_controller.book import StatusBook
from nexthos_controller.controller import Controller
from nexthos_controller.desired import Desired
from nexthos_controller.eventlog import EventLog
from nexthos_controller.executors.base import Connection, Executor, ExecutorContext, Owner
from nexthos_controller.executors.measured import Measured
from nexthos_controller.facts import Facts
from nexthos_controller.feeds import Feeds
from nexthos_controller.metrics import PipelineMetrics
from nexthos_controller.service import Service
from nexthos_controller.settings import Settings, default_state_dir
from nexthos_controller.site import Factories, Site
from nexthos_controller.surroundings import Surroundings
from nexthos_shared import engine
from nexthos_shared.errors import SettingsError
from nexthos_shared.nats_client import ConnectOptions


@dataclass(frozen=True, slots=True)
class Term:
    """One term of leading."""

    controller: Controller
    answers: Answers
    feeds: Feeds
    state_dir: Path


@asynccontextmanager
async def lead(site: Site) -> AsyncIterator[Term]:
    """Act while this is entered. Raises SettingsError, EngineMissing, NotPermitted, StoreMissing."""
    settings, store = site.settings, site.store
    installation = await store.installation()
    state_dir = settings.state_dir or default_state_dir(
        os.environ, settings.namespace, installation
    )
    async with AsyncExitStack() as stack:
        events = EventLog(
            store.events, f"nexthos/{settings.namespace}/{site.about.controller}", site.now
        )
        await stack.enter_async_context(events)
        controller = _controller(site, installation, state_dir, events)
        for executor in controller.executors.values():
            await stack.enter_async_context(executor)
        controller.book.load(await store.statuses.snapshot())
        metrics = PipelineMetrics(controller)
        site.registry.register(metrics)
        stack.callback(site.registry.unregister, metrics)
        await stack.enter_async_context(controller.queue)
        feeds = Feeds(controller, store, site.link, settings.resync)
        await stack.enter_async_context(feeds)
        await feeds.caught_up.wait()
        about = replace(site.about, installation=installation)
        answers = Answers(controller, replace(site, about=about), feeds, events)
        metadata = {"namespace": settings.namespace, "installation": installation}
        service = Service(site.link.nc, store.names, answers, site.about.version, metadata)
        await stack.enter_async_context(service)
        yield Term(controller, answers, feeds, state_dir)


def _controller(site: Site, installation: str, state_dir: Path, events: EventLog) -> Controller:
    settings, store = site.settings, site.store
    surroundings = _surroundings(settings, site.options)
    facts = Facts(store.configs, surroundings)
    context = ExecutorContext(
        owner=Owner(settings.namespace, installation),
        fetch=facts.fetch,
        engines=surroundings.engines,
        connections=surroundings.connections,
        state_dir=state_dir,
        guard=site.lease.guard,
    )
    book = StatusBook(
        store.statuses,
        site.about.controller,
        site.now,
        events,
        site.lease.guard,
        site.instruments,
    )
    executor = _executor(settings.executor, site.executors, context)
    return Controller(
        desired=Desired(),
        book=book,
        facts=facts,
        executors={settings.executor: Measured(executor, site.instruments.call)},
        default_executor=settings.executor,
        now=site.now,
        instruments=site.instruments,
        ready_debounce=settings.ready_debounce,
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
