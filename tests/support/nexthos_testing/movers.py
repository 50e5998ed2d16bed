"""One pipeline that moves between executors of both kinds, by the real loop over stores in memory.

Two fakes of which we do the replicas, `near` and `far`, and a platform. The controller dies where a test
wants it, as by a power cut: at the n-th failpoint. What really runs is asked of the worlds, never of
what a controller says.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

from prometheus_client import CollectorRegistry

from nexthos_controller import failpoints
from nexthos_controller.cache.catalog import Surroundings
from nexthos_controller.cache.definitions import Desired
from nexthos_controller.executors.contract import Connection, Executor, LocalContext
from nexthos_controller.executors.fake import (
    FAKE_OWNER,
    FakeExecutor,
    FakePlatform,
    FakeWorkloads,
    FakeWorld,
)
from nexthos_controller.loop.reconciler import Controller
from nexthos_controller.status.events import EventLog
from nexthos_controller.status.store import StatusStore
from nexthos_controller.telemetry.instruments import Instruments
from nexthos_shared.errors import NexthosError
from nexthos_shared.model import PipelineStatus
from nexthos_shared.names import Names
from nexthos_shared.store import Events
from nexthos_testing.machine.acting import Died, LintedFacts
from nexthos_testing.machine.clock import VirtualLoop
from nexthos_testing.machine.store import NO_LINK, MemoryBucket, MemoryConfigs

KEY = "orders"
EPOCH = 1_700_000_000.0
ROUNDS = 60  # reconciles until nothing moves any more: far fewer are needed


class Named(FakeExecutor):
    """A fake under another name."""

    def __init__(self, name: str, context: LocalContext, world: FakeWorld) -> None:
        self.name = name
        super().__init__(context, world)


class Movers:
    """See the module."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.pipelines, self.statuses = MemoryBucket("pipelines"), MemoryBucket("statuses")
        self.configs = MemoryConfigs()
        self.worlds = {name: FakeWorld((name,)) for name in ("near", "far")}
        self.platform = FakePlatform()
        self.dies_in: int | None = None  # failpoints
        self.violations: list[str] = []
        self.controller = self._begin()

    def now(self) -> float:
        """Seconds since the epoch."""
        return EPOCH + self.loop.time()

    def _begin(self) -> Controller:
        surroundings = Surroundings(
            {"default": Path("/")}, {}, {"default": Connection("nats://fake")}
        )
        facts = LintedFacts(self.configs, surroundings)
        context = LocalContext(
            owner=FAKE_OWNER,
            fetch=facts.fetch,
            engines=surroundings.engines,
            connections=surroundings.connections,
            state_dir=Path(),
        )
        executors: dict[str, Executor] = {
            name: Named(name, context, world) for name, world in self.worlds.items()
        }
        executors["workloads"] = FakeWorkloads(context, self.platform)
        instruments = Instruments.of(CollectorRegistry())
        events = EventLog(Events(NO_LINK, Names("memory")), "nexthos/memory", self.now)
        statuses = StatusStore(
            self.statuses, "controller", self.now, events, lambda: None, instruments
        )
        controller = Controller(
            desired=Desired(),
            statuses=statuses,
            facts=facts,
            executors=executors,
            default_executor="near",
            now=self.now,
            instruments=instruments,
        )
        self.loop.run_until_complete(statuses.load())
        return controller

    # ---- what a user does

    def put(self, status: str = "published", version: str = "1", **fields: Any) -> None:
        """Store the definition."""
        value = json.dumps({"status": status, "version": version, **fields}).encode()
        self.loop.run_until_complete(self.configs.put(KEY, version, version.encode()))
        self.loop.run_until_complete(self.pipelines.put(KEY, value))

    def delete(self) -> None:
        """Delete the definition, with a marker."""
        self.loop.run_until_complete(self.pipelines.delete(KEY))

    # ---- what the controller does

    def step(self) -> None:
        """One reconcile; it may die in it, and then another one takes over."""
        with patch.object(failpoints, "reach", self._reached):
            try:
                self.loop.run_until_complete(self._reconcile())
            except NexthosError:
                pass  # tried again
            except Died:
                self.dies_in = None
                self.controller = self._begin()
        self.look()

    async def _reconcile(self) -> None:
        desired, facts = self.controller.desired, self.controller.facts
        if (stored := await self.pipelines.get(KEY)) is not None:
            desired.change(stored)
        facts.replace(await self.configs.list())
        await self.controller.queue._places.acquire()  # as the queue does around each
        try:
            await self.controller.reconcile(KEY)
        finally:
            self.controller.queue._places.release()

    def _reached(self, point: str) -> None:
        self.look()
        if self.dies_in is not None:
            self.dies_in -= 1
            if self.dies_in <= 0:
                raise Died

    def settle(self) -> PipelineStatus | None:
        """Reconcile until nothing moves any more; whatever was held back is let go."""
        self.platform.faults.late = self.platform.faults.slow = False
        before: object = None
        for _ in range(ROUNDS):
            self.platform.catch_up()
            self.platform.drained()
            self.step()
            self.loop.run_until_complete(asyncio.sleep(30.0))
            now = (self.running(), self.status())
            if now == before:
                break
            before = now
        return self.status()

    def status(self) -> PipelineStatus | None:
        """As it is stored."""
        return self.controller.statuses.status(KEY)

    # ---- what is judged

    def running(self) -> dict[str, list[str]]:
        """By executor, the bytes that really run, one for each replica."""
        found = {
            name: [self._bytes(e.digest) for e in world.running(KEY)]
            for name, world in self.worlds.items()
        }
        pods = self.platform.running(KEY)
        found["workloads"] = [self._bytes(pod.digest) for pod in pods]
        return {name: bytes_ for name, bytes_ in found.items() if bytes_}

    def _bytes(self, digest: str) -> str:
        """The version that has those bytes."""
        known = {info.digest: info.version for info, _ in self.configs._objects.values()}
        return known[digest]

    def look(self) -> None:
        """Whatever happens: one thing runs, on one executor, and of one kind."""
        running = self.running()
        if len(running) > 1:
            self.violations.append(f"runs on several executors: {running}")
        kinds = {d.kind for d in self.platform.deployed.values() if d.pods}
        if len(kinds) > 1:
            self.violations.append(f"runs as a service and as a job: {kinds}")
