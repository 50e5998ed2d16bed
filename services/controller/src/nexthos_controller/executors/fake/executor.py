"""The contract of base.py, for a world in memory: the reference that the others are compared with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from nexthos_controller.execution import (
    Execution,
    Exit,
    Listing,
    LogLine,
    Owner,
    Spec,
    Stopped,
    Stranger,
)
from nexthos_controller.executors.contract import Connection, LocalContext, ReplicaExecutor
from nexthos_controller.executors.fake.world import Call, FakeWorld, Method, Thing
from nexthos_controller.executors.shared.hints import Hints
from nexthos_shared import names
from nexthos_shared.errors import (
    CannotRunHere,
    EngineMissing,
    ExecutorUnreachable,
    NameConflict,
    StartFailed,
    StillRunning,
)
from nexthos_shared.model import Pipeline
from nexthos_shared.reasons import Problem, Reason

FOLLOW_EVERY = 0.01  # seconds


class FakeExecutor(ReplicaExecutor):
    """One controller's view of a world."""

    name = "fake"

    def __init__(self, context: LocalContext, world: FakeWorld | None = None) -> None:
        self.world = world or FakeWorld()
        self._context = context
        self._guard = context.guard
        self._hints = Hints()
        self._locks: dict[str, asyncio.Lock] = {}

    async def __aenter__(self) -> Self:
        self.world.hints.append(self._hints)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.world.hints.remove(self._hints)
        self._hints.close()

    # ---- faults

    async def _meet(self, method: Method, name: str, pipeline_id: str, uid: str = "") -> bool:
        """Note the call, and suffer what the test asked for. Whether it is to be done at all."""
        faults = self.world.faults
        if method not in ("list", "find", "metrics"):
            self.world.calls.append(Call(method, name, pipeline_id, uid))
        if faults.latency:
            await asyncio.sleep(faults.latency)
        keys: tuple[object, ...] = (method, (method, pipeline_id))
        for key in keys:
            if key in faults.hang:
                await faults.hang[key].wait()
            if faults.fail.get(key):
                raise faults.fail[key].pop(0)
        return method not in faults.lie

    # ---- what can run, and what does

    def check(self, definition: Pipeline) -> list[Problem]:
        """See base.py."""
        problems = []
        if definition.engine not in self._context.engines:
            words = f"no engine {definition.engine!r}"
            problems.append(Problem(Reason.UNKNOWN_ENGINE, words, field="engine"))
        if definition.connection not in self._context.connections:
            words = f"no connection {definition.connection!r}"
            problems.append(Problem(Reason.UNKNOWN_CONNECTION, words, field="connection"))
        fields = [f"executor_options.{option}" for option in definition.executor_options]
        limits = (("cpu", definition.resources.cpu), ("memory", definition.resources.memory))
        fields += [f"resources.{limit}" for limit, value in limits if value is not None]
        for at in fields:
            problems.append(Problem(Reason.CANNOT_RUN_HERE, f"{at}: not here", field=at))
        return problems

    async def refusals(self, spec: Spec, config: bytes) -> list[Problem]:
        """See base.py."""
        unfit = self.world.faults.unfit
        if not unfit or unfit not in config:
            return []
        return [Problem(Reason.CANNOT_RUN_HERE, f"{unfit.decode()}: not here")]

    async def list(self) -> Listing:
        """See base.py."""
        await self._meet("list", "", "")
        return self._listing(None)

    async def strangers(self) -> frozenset[Stranger]:
        """See base.py."""
        ours = self._context.owner
        running = (t for t in self.world.things.values() if t.execution.state == "running")
        return frozenset(
            Stranger(t.owner.installation, t.execution.id)
            for t in running
            if t.owner.namespace == ours.namespace and not self._owns(t)
        )

    async def find(self, pipeline_id: str) -> Listing:
        """See base.py."""
        await self._meet("find", "", pipeline_id)
        return self._listing(pipeline_id)

    def _listing(self, pipeline_id: str | None) -> Listing:
        places = frozenset(self.world.places) - self.world.faults.silent
        if not places:
            raise ExecutorUnreachable("no place of the fake answers")
        executions = (t.execution for t in self.world.things.values() if self._owns(t))
        there = (e for e in executions if e.place in places and pipeline_id in (None, e.id))
        return Listing(tuple(sorted(there, key=lambda e: (e.id, e.replica, e.name))), places)

    def _owns(self, thing: Thing) -> bool:
        return thing.owner == self._context.owner

    def _like(self, execution: Execution) -> Thing | None:
        thing = self.world.things.get(execution.name)
        if thing is None or not self._owns(thing) or thing.execution.uid != execution.uid:
            return None
        return thing

    # ---- preparing and starting

    async def prepare(self, spec: Spec, replica: int) -> None:
        """See base.py."""
        name = self._name(spec, replica)
        async with self._locks.setdefault(name, asyncio.Lock()):
            if await self._meet("prepare", name, spec.id):
                await self._prepared(spec, replica)

    async def start(self, spec: Spec, replica: int) -> Execution:
        """See base.py."""
        name = self._name(spec, replica)
        async with self._locks.setdefault(name, asyncio.Lock()):
            if not await self._meet("start", name, spec.id):
                return self._imagined(spec, replica)
            thing = await self._prepared(spec, replica)
            if thing.execution.state != "running":
                self._provided(spec)
                if thing.content is None:
                    thing.content = await self._context.fetch(spec)
                self._guard()
                if self.world.faults.refuse:
                    raise StartFailed("disk full")
                self.world.begin(thing)
            return thing.execution

    def _name(self, spec: Spec, replica: int) -> str:
        owner = self._context.owner
        return names.execution_name(
            owner.namespace, spec.id, replica, owner.installation, spec.spec_hash
        )

    async def _prepared(self, spec: Spec, replica: int) -> Thing:
        name = self._name(spec, replica)
        thing = self.world.things.get(name)
        if name in self.world.foreign or (thing is not None and not self._owns(thing)):
            raise NameConflict(f"{name} is there and is not ours")
        if thing is not None:
            return thing
        self._provided(spec)
        self._guard()
        if self.world.faults.refuse:
            raise StartFailed("disk full")
        content = await self._context.fetch(spec)
        for refusal in await self.refusals(spec, content):
            raise CannotRunHere(refusal.message)
        self._guard()
        thing = Thing(self._context.owner, self._imagined(spec, replica), content)
        self.world.things[name] = thing
        return thing

    def _provided(self, spec: Spec) -> None:
        binary = self._context.engines.get(spec.definition.engine)
        if binary is None or not binary.exists():
            raise EngineMissing(f"no engine {spec.definition.engine!r}", field="engine")
        if spec.definition.connection not in self._context.connections:
            words = f"no connection {spec.definition.connection!r}"
            raise CannotRunHere(words, reason=Reason.UNKNOWN_CONNECTION, field="connection")

    def _imagined(self, spec: Spec, replica: int) -> Execution:
        return Execution(
            name=self._name(spec, replica),
            id=spec.id,
            replica=replica,
            uid="",
            executor=self.name,
            place=self.world.places[0],
            spec_hash=spec.spec_hash,
            revision=spec.revision,
            digest=spec.digest,
            state="prepared",
            stop_timeout=spec.definition.stop_timeout,
        )

    # ---- stopping and removing

    async def stop(self, execution: Execution, grace: float) -> Stopped:
        """See base.py."""
        name, faults = execution.name, self.world.faults
        if not await self._meet("stop", name, execution.id, execution.uid):
            return "drained"
        thing = self._like(execution)
        if thing is None or thing.execution.state != "running":
            return "drained"
        self._guard()
        if not (faults.stubborn or faults.immortal):
            self.world.end(thing, Exit(0, True))
            return "drained"
        try:
            async with asyncio.timeout(grace):
                await thing.over.wait()
        except TimeoutError:
            self._guard()
            if faults.immortal:
                raise StillRunning(f"{name} outlives SIGKILL") from None
            self.world.end(thing, Exit(None, True))
            return "killed"
        self.world.change(
            thing, exit=replace(thing.execution.exit or Exit(0, True), signalled=True)
        )
        return "drained"

    async def remove(self, execution: Execution) -> None:
        """See base.py."""
        name = execution.name
        async with self._locks.setdefault(name, asyncio.Lock()):
            if not await self._meet("remove", name, execution.id, execution.uid):
                return
            thing = self._like(execution)
            if thing is None:
                return
            if thing.execution.state == "running":
                raise StillRunning(f"{name} runs")
            self._guard()
            del self.world.things[name]

    # ---- hints, logs, metrics

    def events(self) -> AsyncIterator[str]:
        """See base.py."""
        return self._hints.listen()

    async def logs(
        self, execution: Execution, *, tail: int = 100, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        """See base.py."""
        thing = self.world.things.get(execution.name)
        if thing is None or not self._owns(thing):
            return
        at = max(len(thing.lines) - tail, 0)
        while True:
            lives = self._like(execution) is thing and thing.execution.state == "running"
            new = thing.lines[at:]
            at += len(new)
            for line in new:
                yield line
            if not (follow and lives):
                return
            await asyncio.sleep(FOLLOW_EVERY)

    async def metrics(self, execution: Execution) -> str:
        """See base.py."""
        await self._meet("metrics", execution.name, execution.id)
        thing = self._like(execution)
        return thing.metrics if thing is not None else ""


FAKE_OWNER = Owner("nexthos", "fake")


async def _no_bytes(spec: Spec) -> bytes:
    return b""


def fake_context(
    owner: Owner = FAKE_OWNER,
    *,
    fetch: Callable[[Spec], Awaitable[bytes]] = _no_bytes,
    guard: Callable[[], None] = lambda: None,
    state_dir: Path = Path(),
) -> LocalContext:
    """A context that asks nothing of the machine, for tests and benchmarks of what calls executors."""
    return LocalContext(
        owner=owner,
        fetch=fetch,
        engines={"default": Path("/")},
        connections={"default": Connection("nats://fake")},
        state_dir=state_dir,
        guard=guard,
    )
