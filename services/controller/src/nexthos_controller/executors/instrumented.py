"""Any executor, with its calls timed and counted. Changes nothing of what they do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Generic, Self, TypeVar, cast

from nexthos_controller.execution import (
    Execution,
    Listing,
    LogLine,
    Spec,
    Stopped,
    Stranger,
    Workload,
    WorkloadState,
)
from nexthos_controller.executors.contract import Executor, ReplicaExecutor, WorkloadExecutor
from nexthos_shared.model import Pipeline
from nexthos_shared.reasons import Problem

E = TypeVar("E", bound=Executor)
Call = Callable[[str, str], AbstractContextManager[None]]  # of an executor's name, and a method's


class _Measured(Executor, Generic[E]):
    """Reading, handed on; `call` is entered around each call that may take time."""

    def __init__(self, executor: E, call: Call) -> None:
        self.inner = executor
        self.name, self.here = executor.name, executor.here
        self._call = call

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.inner.__aexit__(kind, error, trace)

    def check(self, definition: Pipeline) -> list[Problem]:
        """See contract.py."""
        return self.inner.check(definition)

    async def refusals(self, spec: Spec, config: bytes) -> list[Problem]:
        """See contract.py."""
        with self._call(self.name, "refusals"):
            return await self.inner.refusals(spec, config)

    async def list(self) -> Listing:
        """See contract.py."""
        with self._call(self.name, "list"):
            return await self.inner.list()

    async def find(self, pipeline_id: str) -> Listing:
        """See contract.py."""
        with self._call(self.name, "find"):
            return await self.inner.find(pipeline_id)

    async def strangers(self) -> frozenset[Stranger]:
        """See contract.py."""
        with self._call(self.name, "strangers"):
            return await self.inner.strangers()

    def events(self) -> AsyncIterator[str]:
        """See contract.py."""
        return self.inner.events()

    def logs(
        self, execution: Execution, *, tail: int = 100, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        """See contract.py."""
        return self.inner.logs(execution, tail=tail, follow=follow)

    async def metrics(self, execution: Execution) -> str:
        """See contract.py."""
        with self._call(self.name, "metrics"):
            return await self.inner.metrics(execution)


class MeasuredReplicas(_Measured[ReplicaExecutor], ReplicaExecutor):
    """A ReplicaExecutor, handed on."""

    async def prepare(self, spec: Spec, replica: int) -> None:
        """See contract.py."""
        with self._call(self.name, "prepare"):
            await self.inner.prepare(spec, replica)

    async def start(self, spec: Spec, replica: int) -> Execution:
        """See contract.py."""
        with self._call(self.name, "start"):
            return await self.inner.start(spec, replica)

    async def stop(self, execution: Execution, grace: float) -> Stopped:
        """See contract.py."""
        with self._call(self.name, "stop"):
            return await self.inner.stop(execution, grace)

    async def remove(self, execution: Execution) -> None:
        """See contract.py."""
        with self._call(self.name, "remove"):
            await self.inner.remove(execution)


class MeasuredWorkloads(_Measured[WorkloadExecutor], WorkloadExecutor):
    """A WorkloadExecutor, handed on."""

    async def apply(self, workload: Workload) -> None:
        """See contract.py."""
        with self._call(self.name, "apply"):
            await self.inner.apply(workload)

    async def delete(self, workload: WorkloadState) -> None:
        """See contract.py."""
        with self._call(self.name, "delete"):
            await self.inner.delete(workload)


def measured(executor: Executor, call: Call) -> Executor:
    """`executor`, measured, and of the same kind."""
    if isinstance(executor, ReplicaExecutor):
        return MeasuredReplicas(executor, call)
    return MeasuredWorkloads(cast(WorkloadExecutor, executor), call)
