"""One controller from its start to its death: the real loop, queue, book and executors' side, by hand fed.

Comes in: what the watches would bring, when a rule lets them. Goes out: looks, each known by a `Look`
to whoever asks at whose hand something happens. It dies where a rule wants it, as by a power cut: at
the n-th of the moments between which anything was written or done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nexthos_controller.cache.catalog import Surroundings
from nexthos_controller.cache.configurations import Facts
from nexthos_controller.cache.definitions import Desired
from nexthos_controller.cache.executions import list_all
from nexthos_controller.execution import Spec
from nexthos_controller.executors.contract import Connection, Executor, LocalContext
from nexthos_controller.loop.reconciler import Controller
from nexthos_controller.reconcile import decide
from nexthos_controller.status.events import EventLog
from nexthos_controller.status.store import StatusStore
from nexthos_shared.errors import LeaseLost, NexthosError
from nexthos_shared.model import Entry
from nexthos_shared.names import Names
from nexthos_shared.reasons import Problem, Reason
from nexthos_shared.store import ConfigInfo, Events, KvEntry
from nexthos_shared.store.watch import Change, Snapshot
from nexthos_testing.machine.store import NO_LINK
from nexthos_testing.machine.world import BAD, WatchedExecutor

if TYPE_CHECKING:
    from nexthos_testing.machine.ground import Ground


class Died(BaseException):
    """The process is no more: nobody catches it, nothing is cleaned up."""


@dataclass(eq=False)
class Look:
    """One look at one pipeline, and every entry that it may have gone by."""

    acting: Acting
    key: str
    since: float
    bucket: str  # the life of the bucket of pipelines
    entries: list[Entry | None] = field(default_factory=list)


LOOK: ContextVar[Look | None] = ContextVar("look", default=None)


class Acting:
    """See the module."""

    def __init__(self, ground: Ground, number: int) -> None:
        self.ground = ground
        self.leads = True  # the lease is ours
        self.dead = False
        self.dies_in: int | None = None  # moments
        self.looks: dict[str, Look] = {}
        self.identity = {"pipelines": "", "statuses": ""}
        surroundings = Surroundings(
            {"default": Path("/")}, {}, {"default": Connection("nats://fake")}
        )
        self.facts = LintedFacts(ground.configs, surroundings)
        context = LocalContext(
            owner=ground.owner,
            fetch=self.facts.fetch,
            engines=surroundings.engines,
            connections=surroundings.connections,
            state_dir=Path(),
            guard=self.guard,
        )
        self.executors = {n: WatchedExecutor(context, w) for n, w in ground.worlds.items()}
        events = EventLog(Events(NO_LINK, Names("memory")), "nexthos/memory", ground.now)
        self.statuses = StatusStore(
            ground.statuses,
            f"controller-{number}",
            ground.now,
            events,
            self.guard,
            ground.instruments,
        )
        self.controller = WatchedController(self, self.executors)
        self._stack = AsyncExitStack()
        self._hints: list[asyncio.Task[None]] = []

    @property
    def queue_is_empty(self) -> bool:
        """Whether nothing waits for its turn or is worked on."""
        return len(self.controller.queue) == 0

    # ---- its life

    async def start(self) -> None:
        """Take over what is stored, and look at everything."""
        await self.statuses.load()
        for executor in self.executors.values():
            await self._stack.enter_async_context(executor)
        self.controller.abandoned = frozenset(self.ground.abandoned)
        await self._stack.enter_async_context(self.controller.queue)
        self._hints = [asyncio.create_task(self._listen(e)) for e in self.executors.values()]
        await self.resync()

    async def close(self) -> None:
        """End it; what runs is left running. Twice does no harm."""
        for task in self._hints:
            task.cancel()
        await asyncio.gather(*self._hints, return_exceptions=True)
        await self._stack.aclose()

    def moment(self) -> None:
        """Between two things that are done: here it may die."""
        if self.dies_in is not None:
            self.dies_in -= 1
            self.dead = self.dead or self.dies_in <= 0
        if self.dead:
            raise Died

    def guard(self) -> None:
        """Of the lease."""
        self.moment()
        if not self.leads:
            raise LeaseLost("the lease is not ours: somebody else has it")

    # ---- what it hears

    async def _listen(self, executor: Executor) -> None:
        async for key in executor.events():
            if not self.ground.deaf:
                self.controller.queue.add(key)

    async def resync(self) -> None:
        """All that a new watch would bring, of every bucket."""
        keys = self.facts.replace(await self.ground.configs.list())
        keys |= self._takes(await self._snapshot("pipelines"))
        self.statuses.saw(await self._snapshot("statuses"))
        keys |= set(self.controller.desired.keys()) | self.statuses.keys() | self.ground.owned()
        for key in sorted(keys):
            self.controller.queue.add(key, live=False)

    async def _snapshot(self, name: str) -> Snapshot[KvEntry]:
        bucket = self.ground.buckets[name]
        created = (await bucket.identity()).created
        changed = self.identity[name] not in ("", created)
        self.identity[name] = created
        return Snapshot(tuple(await bucket.snapshot()), changed, created)

    async def sees(self, name: str, entry: KvEntry) -> None:
        """The watch brings one entry, unless it still watches a bucket that is gone."""
        if self.identity[name] != (await self.ground.buckets[name].identity()).created:
            return
        keys = (
            self._takes(Change(entry)) if name == "pipelines" else self.statuses.saw(Change(entry))
        )
        for key in sorted(keys):
            self.controller.queue.add(key)

    def _takes(self, item: Snapshot[KvEntry] | Change[KvEntry]) -> set[str]:
        desired = self.controller.desired
        known = desired.keys()
        before = {key: desired.stored(key) for key in known}
        if isinstance(item, Change):
            desired.change(item.entry)
        else:
            desired.replace(item)
            before = {} if item.changed_identity else before
        keys = before.keys() | set(desired.keys())
        keys = {key for key in keys if before.get(key) != desired.stored(key)}
        for key in sorted(keys):
            entry = desired.entry(key)
            if self.leads:
                self.ground.chronicle.knows(key, entry)
            if look := self.looks.get(key):
                look.entries.append(entry)
        return keys

    def sees_config(self, info: ConfigInfo) -> None:
        """The watch brings an object's meta."""
        self.facts.change(info)
        self.controller.queue.add(info.id)


class WatchedController(Controller):
    """Whose looks are known."""

    def __init__(self, acting: Acting, executors: Mapping[str, Executor]) -> None:
        self._acting = acting
        super().__init__(
            desired=Desired(),
            statuses=acting.statuses,
            facts=acting.facts,
            executors=executors,
            default_executor=next(iter(executors)),
            now=acting.ground.now,
            instruments=acting.ground.instruments,
        )

    async def _judge_unchanged(self, key: str) -> None:
        """What a resync would pass over is decided about here, to see that nothing is to do."""
        if not self.is_unchanged(key, await list_all(self.executors)):
            return
        status = self.statuses.status(key)
        seen = await self._observe(key, status)
        if steps := decide(self._view(key, seen, status)).steps:
            self._acting.ground.judge.defect(key, AssertionError(f"unchanged, with {steps} to do"))

    async def reconcile(self, key: str) -> float | None:
        """See Controller."""
        acting, entries = self._acting, [self.desired.entry(key)]
        look = Look(acting, key, acting.ground.now(), acting.identity["pipelines"], entries)
        acting.looks[key] = look
        LOOK.set(look)
        try:
            await self._judge_unchanged(key)
            return await super().reconcile(key)
        except NexthosError:
            raise
        except Exception as error:
            acting.ground.judge.defect(key, error)
            raise
        finally:
            acting.looks.pop(key, None)


class LintedFacts(Facts):
    """Facts without an engine's process, and without a thread."""

    async def fetch(self, spec: Spec) -> bytes:
        """See Facts."""
        version = spec.definition.version or ""
        return await self._configs.get(spec.id, version, digest=spec.digest)

    async def lint(self, spec: Spec, executor: Executor) -> None:
        """See Facts."""
        bad = await self.fetch(spec) == BAD
        refusal = Problem(Reason.LINT_FAILED, "no such input", line=1)
        self._lints[spec.spec_hash] = (refusal,) if bad else ()


def at_a_faultpoint(_: str) -> None:
    """In the place of `faultpoints.reach`."""
    if look := LOOK.get():
        look.acting.moment()
