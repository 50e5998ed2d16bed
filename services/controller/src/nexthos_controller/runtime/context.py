"""The site: what a controller has whether it leads or stands by."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry

from nexthos_controller.election.lease import Lease
from nexthos_controller.executors.contract import Executor, LocalContext
from nexthos_controller.runtime.hardening import risks_of
from nexthos_controller.runtime.identity import About
from nexthos_controller.runtime.replies import Replies
from nexthos_controller.settings import Settings
from nexthos_controller.telemetry.instruments import Instruments
from nexthos_shared import names
from nexthos_shared.errors import NexthosError
from nexthos_shared.model import ControllerReply, Event, LeaderReport
from nexthos_shared.nats.connection import ConnectOptions, Link
from nexthos_shared.reasons import Problem, Reason
from nexthos_shared.store import Store

Factories = Mapping[str, Callable[[LocalContext], Executor]]
LAST_EVENTS = 10  # in a reply
BEHIND = 10.0  # seconds that a watch may take to begin, or to come back


@dataclass(frozen=True, slots=True)
class Site:
    """What a controller has whether it leads or stands by."""

    settings: Settings
    options: ConnectOptions
    executors: Factories
    link: Link
    store: Store
    lease: Lease
    about: About
    registry: CollectorRegistry
    instruments: Instruments
    replies: Replies
    now: Callable[[], float]
    halted: list[Problem] = field(default_factory=list)  # why it does not take part; at most one

    @property
    def is_ready(self) -> bool:
        """Whether it acts, or would if the one that acts ended."""
        return self.link.nc.is_connected and not any(self.hindrances())

    @property
    def why_not_ready(self) -> str:
        """In a line; empty if it is."""
        if not self.link.nc.is_connected:
            return f"NATS at {self.link.options.safe_url} is away"
        return "; ".join(problem.message for problem in self.hindrances())

    def hindrances(self) -> Iterator[Problem]:
        """What keeps it from acting on what is stored."""
        yield from self.halted
        for name, behind in sorted(self.link.behind.items()):
            lasts = time.monotonic() - behind.since
            if lasts > BEHIND:
                words = f"{name} does not get on, for {lasts:.0f} s: {behind.why}"
                yield Problem(Reason.WATCH_BEHIND, words)

    def skipped(self) -> Iterator[Problem]:
        """Messages that were passed over, the last of them."""
        for skip in self.link.skips.last():
            yield Problem(Reason.MESSAGE_SKIPPED, f"passed over: {skip}")

    def told(self, **known: Any) -> ControllerReply:
        """What is said of this controller: what does not change, and what is `known` besides."""
        about = self.about
        return ControllerReply(
            controller=about.controller,
            version=about.version,
            namespace=about.namespace,
            installation=about.installation,
            started_at=about.started_at,
            ready=self.is_ready,
            store=about.store,
            engine=about.engine,
            risks=risks_of(self.settings, self.options),
            **known,
        )

    async def leader(self) -> LeaderReport | None:
        """Who acts, as far as the store knows. Raises StoreMissing, StoreUnavailable."""
        claim = await self.lease.holder()
        if claim is None:
            return None
        return LeaderReport(controller=claim.holder, host=claim.host, since=claim.since)

    async def missing(self) -> list[Problem]:
        """Buckets that do not exist, as problems."""
        absent = await self.store.missing()
        return [missing_bucket(bucket) for bucket in absent]

    async def last_events(self, key: str) -> list[Event]:
        """What happened to a pipeline last; nothing where that can't be read."""
        try:
            return await self.store.events.last(key, LAST_EVENTS) if names.is_id(key) else []
        except NexthosError:
            return []


def missing_bucket(bucket: str) -> Problem:
    """What is told of a bucket that does not exist."""
    words = (
        f"{bucket} does not exist: nothing is created or removed for that; `nexthos setup` makes it"
    )
    return Problem(Reason.STORE_MISSING, words)
