"""Wiring: from settings to a controller that takes part: it stands by until it has the lease, then leads.

HTTP -> NATS -> (stand by: answers from the store, wait for it and for the lease) -> term -> stand by ...
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Self

import structlog
from prometheus_client import CollectorRegistry

from nexthos_controller.api.standby import standing_by
from nexthos_controller.election.lease import Lease
from nexthos_controller.executors.contract import Executor, LocalContext
from nexthos_controller.executors.process import ProcessExecutor
from nexthos_controller.http import discovery
from nexthos_controller.http.metrics import SiteMetrics
from nexthos_controller.http.server import serve_http
from nexthos_controller.lifecycle.term import Term, lead
from nexthos_controller.loop.reconciler import Controller
from nexthos_controller.runtime.context import Factories, Site
from nexthos_controller.runtime.identity import About, ask_about
from nexthos_controller.runtime.replies import Replies
from nexthos_controller.settings import Settings, read_token
from nexthos_controller.telemetry.instruments import Instruments
from nexthos_shared.errors import (
    InstallationDiffers,
    NotPermitted,
    StoreMissing,
    StoreUnavailable,
)
from nexthos_shared.names import Names
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.store import Store


def _streams(context: LocalContext) -> Executor:
    # imported where settings name it: 20 ms for all others
    from nexthos_controller.executors.streams import StreamsExecutor

    return StreamsExecutor(context)


def _docker(context: LocalContext) -> Executor:
    # docker-py takes a fifth of a second to import, which only its users should wait for
    from nexthos_controller.executors.docker import DockerExecutor

    return DockerExecutor(context)


EXECUTORS: Factories = {"process": ProcessExecutor, "streams": _streams, "docker": _docker}
LOOK_FOR_STORE = 0.5  # seconds
AT_ONCE = 0.1  # seconds: whoever gets the lease in that time was never a standby

log = structlog.get_logger(__name__)


class Running:
    """A controller that takes part, for those who started it (main, `nexthos dev`, tests)."""

    def __init__(self, site: Site, http: str) -> None:
        self.site = site
        self.http = http
        self.term: Term | None = None  # None: it stands by
        self._leads = asyncio.Event()
        self._part: asyncio.Task[None] | None = None
        self._known: str | None = None  # which installation this process knows the store to be

    async def __aenter__(self) -> Self:
        self._part = asyncio.create_task(self._take_part(), name="controller")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._part is not None
        self._part.cancel()
        await asyncio.gather(self._part, return_exceptions=True)

    async def leading(self) -> Term:
        """The present term, as soon as there is one. Raises what a term can't begin with."""
        while self.term is None:
            await self._or_end(self._leads.wait())
        return self.term

    async def ended(self) -> None:
        """Return never; raise what a term can't begin with."""
        await self._or_end(asyncio.Event().wait())

    async def _or_end(self, awaited: Coroutine[Any, Any, Any]) -> None:
        assert self._part is not None
        task = asyncio.create_task(awaited)
        try:
            await asyncio.wait({task, self._part}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            task.cancel()
        if self._part.done():
            self._part.result()

    async def _take_part(self) -> None:
        """Stand by and lead in turns, until cancelled."""
        while True:
            await self._await_turn()
            async with self.site.lease.kept():
                await self._lead_until_lost()

    async def _await_turn(self) -> None:
        """Wait for the store and the lease; where that takes a moment, answer as a standby meanwhile."""
        turn = asyncio.create_task(self._turn(), name="turn")
        try:
            await asyncio.wait({turn}, timeout=AT_ONCE)
            if not turn.done():
                async with standing_by(self.site):
                    await asyncio.wait({turn})
            turn.result()
        finally:
            turn.cancel()
            await asyncio.gather(turn, return_exceptions=True)

    async def _turn(self) -> None:
        await _store_is_there(self.site.store, self._known)
        self._known = await _installation_is_right(self.site, self._known)
        store = asyncio.create_task(_store_stays(self.site.store, self._known), name="store stays")
        try:
            await self.site.lease.acquire()
        finally:
            store.cancel()
            await asyncio.gather(store, return_exceptions=True)

    async def _lead_until_lost(self) -> None:
        term = asyncio.create_task(self._lead(), name="term")
        lost = asyncio.create_task(self.site.lease.lost.wait(), name="lease lost")
        try:
            await asyncio.wait({term, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (term, lost):
                task.cancel()
            await asyncio.gather(term, lost, return_exceptions=True)
        if not term.cancelled():
            term.result()

    async def _lead(self) -> None:
        about = self.site.about
        try:
            async with lead(self.site, self._known) as term:
                self.term = term
                self._leads.set()
                log.info(
                    "controller acts",
                    controller=about.controller,
                    namespace=about.namespace,
                    token=self.site.lease.token,
                    store=about.store,
                    engine=about.engine,
                    http=self.http,
                    state_dir=str(term.state_dir),
                )
                await term.feeds.displaced.wait()
                log.error("the term ends: its installation was overwritten")
        except (StoreMissing, StoreUnavailable, InstallationDiffers) as error:
            # The store went away before the term had begun: that is no reason to end.
            log.warning("could not start leading", error=str(error))
        finally:
            self.term = None
            self._leads.clear()
            log.info("controller acts no more; what runs is left running")


@asynccontextmanager
async def running_controller(
    settings: Settings,
    options: ConnectOptions,
    executors: Factories = EXECUTORS,
    about: asyncio.Task[About] | None = None,
) -> AsyncIterator[Running]:
    """A controller that takes part while this is entered. Leaving it leaves every execution running.

    `executors` are those that settings may name, `about` is `ask_about` if it runs already. Raises
    SettingsError, EngineMissing, NotPermitted; a missing store or another controller is waited for, and
    told.
    """
    async with AsyncExitStack() as stack:
        registry, names = CollectorRegistry(), Names(settings.namespace)
        parts: list[Running] = []
        # Before NATS: a controller that waits for its server is alive, and says that it is not ready.
        http = await stack.enter_async_context(
            serve_http(
                settings.http,
                registry,
                lambda: any(p.site.is_ready for p in parts),
                discovery.routes(settings.namespace, lambda: _acting(parts)),
                read_token(settings.http_token_file) if settings.http_token_file else None,
                lambda: next((p.site.why_not_ready for p in parts), "NATS was not reached yet"),
            )
        )
        name = f"{settings.namespace} controller"
        asked = about or asyncio.create_task(ask_about(settings, options))
        stack.callback(asked.cancel)
        link = await stack.enter_async_context(connect(options, name=name, daemon=True))
        # Apart, since a renewal whose answer comes behind the snapshots of 50,000 comes too late.
        claims = await stack.enter_async_context(
            connect(options, name=f"{settings.namespace} lease", daemon=True)
        )
        known = await asked
        store = Store.of(link, names)
        lease = Lease(Store.of(claims, names).control, known.controller, settings.lease_ttl)
        registry.register(
            SiteMetrics(lambda: lease.held, lambda: link.reconnects, lambda: link.skips.total)
        )
        instruments = Instruments.of(registry)
        site = Site(
            settings=settings,
            options=options,
            executors=executors,
            link=link,
            store=store,
            lease=lease,
            about=known,
            registry=registry,
            instruments=instruments,
            replies=Replies((link, claims), names, instruments.replies_dropped),
            now=steady_clock(),
        )
        parts.append(Running(site, http))
        yield await stack.enter_async_context(parts[0])


def _acting(parts: list[Running]) -> Controller | None:
    return next((part.term.controller for part in parts if part.term is not None), None)


async def _store_is_there(store: Store, known: str | None) -> None:
    """Wait until every bucket exists, and create them if none does: as the installation that is `known`."""
    told = ""
    while True:
        seen = store.link.reconnects
        try:
            await Store.open(store.link, store.names, create=True, known=known)
        except (StoreMissing, StoreUnavailable) as error:
            if str(error) != told:
                log.warning("waiting for the store", because=str(error))
                told = str(error)
        else:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_FOR_STORE):
                await store.link.wait_reconnect(seen)


async def _store_stays(store: Store, known: str) -> None:
    """Create it again should it come back empty while the lease is awaited: who acted may have ended."""
    while True:
        await asyncio.sleep(LOOK_FOR_STORE)
        with suppress(StoreUnavailable, NotPermitted):
            if len(await store.missing()) == len(store.buckets()):
                await _store_is_there(store, known)


async def _installation_is_right(site: Site, known: str | None) -> str:
    """Wait until the store says one thing about which store it is, and return that."""
    while True:
        try:
            found = await site.store.installation(known)
        except InstallationDiffers as error:
            if site.halted != [error.problem]:
                log.error("nothing is done", because=str(error))
            site.halted[:] = [error.problem]
        except (StoreMissing, StoreUnavailable) as error:
            log.warning("waiting for the store", because=str(error))
        else:
            site.halted.clear()
            return found
        await asyncio.sleep(LOOK_FOR_STORE)


def steady_clock() -> Callable[[], float]:
    """Seconds since the epoch that never jump: wall time at the start, monotonic from there on."""
    wall, monotonic = time.time(), time.monotonic()
    return lambda: wall + (time.monotonic() - monotonic)
