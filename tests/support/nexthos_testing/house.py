"""A controller inside the test's own process: real NATS, a fake executor, and a user beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nexthos_controller.execution import Execution, Spec
from nexthos_controller.executors.contract import LocalContext
from nexthos_controller.executors.fake import FakeExecutor, FakeWorld
from nexthos_controller.lifecycle.app import Running, running_controller
from nexthos_controller.settings import Settings
from nexthos_shared.model import ConditionType, PipelineStatus
from nexthos_shared.reasons import Reason
from nexthos_testing.field import Field, field_of
from nexthos_testing.guarded import options_for

CONFIG = "input: {generate: {mapping: 'root = 1'}}\noutput: {drop: {}}\n"


class CountingExecutor(FakeExecutor):
    """Notes how many starts were under way at once."""

    now = 0
    most = 0

    async def start(self, spec: Spec, replica: int) -> Execution:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await super().start(spec, replica)
        finally:
            self.now -= 1


@dataclass
class House:
    """A controller in this process, its world, and a user."""

    running: Running
    world: FakeWorld
    field: Field
    executors: list[CountingExecutor]  # one of each term

    @property
    def executor(self) -> CountingExecutor:
        """The one of the present term."""
        return self.executors[-1]

    async def publish(self, key: str, version: str = "1") -> None:
        """Store a configuration and its entry."""
        await self.field.config(key, CONFIG, version)
        await self.field.put(key, version=version)

    def name(self, key: str) -> str:
        """The one execution of that pipeline, as its world calls it."""
        [execution] = [t.execution for t in self.world.things.values() if t.execution.id == key]
        return execution.name


@dataclass
class Builder:
    """What makes a house; the world is kept over several of them."""

    url: str
    namespace: str
    state_dir: Path
    world: FakeWorld = field(default_factory=FakeWorld)

    @asynccontextmanager
    async def house(
        self,
        *,
        workers: int = 16,
        resync: float = 60.0,
        debounce: float = 10.0,
        leads: bool = True,
    ) -> AsyncIterator[House]:
        made: list[CountingExecutor] = []

        def make(context: LocalContext) -> CountingExecutor:
            made.append(CountingExecutor(context, self.world))
            return made[-1]

        settings = Settings(
            namespace=self.namespace,
            executor="fake",
            http="127.0.0.1:0",
            state_dir=self.state_dir,
            workers=workers,
            resync=resync,
            ready_debounce=debounce,
        )
        options = options_for(self.url, self.namespace)
        async with (
            running_controller(settings, options, {"fake": make}) as running,
            field_of(self.url, self.namespace) as user,
        ):
            if leads:
                await running.leading()
            await running.site.link.nc.flush()  # its subscriptions have reached the server
            yield House(running, self.world, user, made)


def condition(status: PipelineStatus, kind: ConditionType) -> tuple[str, Reason] | None:
    """Status and reason of a condition, if there is one."""
    found = status.condition(kind)
    return (found.status, found.reason) if found else None
