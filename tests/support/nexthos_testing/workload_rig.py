"""What the contract suite needs of an executor whose platform does the replicas.

A later platform adds a rig with these acts, done its own way, and its name to the fixture `platform`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from nexthos_controller.execution import Owner, Spec, Workload, WorkloadState
from nexthos_controller.executors.contract import WorkloadExecutor
from nexthos_controller.executors.fake import FakePlatform, FakeWorkloads
from nexthos_shared.model import Update
from nexthos_testing.fake_rig import FakeRig


class FakeWorkloadRig:
    """The reference."""

    kind = "workloads"

    def __init__(self, folder: Path) -> None:
        self.given = FakeRig(folder)  # bytes, guard and context
        self.given.kind = self.kind
        self.platform = FakePlatform()
        self.executor: WorkloadExecutor = FakeWorkloads(self.given.context(), self.platform)

    async def __aenter__(self) -> Self:
        await self.given.set_up()
        await self.executor.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.executor.__aexit__(None, None, None)

    @asynccontextmanager
    async def other(self, owner: Owner | None = None) -> AsyncIterator[WorkloadExecutor]:
        """Another controller's executor on the same platform."""
        async with FakeWorkloads(self.given.context(owner), self.platform) as executor:
            yield executor

    def workload(self, replicas: int = 1, spec: Spec | None = None, **more: Any) -> Workload:
        return Workload(spec or self.given.spec(**more), replicas, Update())

    async def seen(self, pipeline_id: str = "orders") -> WorkloadState | None:
        """The one workload of that pipeline."""
        states = (await self.executor.find(pipeline_id)).workloads
        assert len(states) <= 1
        return states[0] if states else None

    def running(self, pipeline_id: str = "orders") -> int:
        """How many replicas really run."""
        return len(self.platform.running(pipeline_id))

    def shown(self) -> str:
        """All that others may read on the platform, but what is meant for the engine alone."""
        return repr([(d.name, d.pods) for d in self.platform.deployed.values()])

    def occupy(self, name: str) -> None:
        self.platform.foreign.add(name)

    def name(self, spec: Spec) -> str:
        executor = self.executor
        assert isinstance(executor, FakeWorkloads)
        return executor._name(spec.id, spec.definition.lifecycle)
