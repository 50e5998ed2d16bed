"""A fake executor for thousands: executions that are always well, and take next to no memory.

The one that tests use notes each call and keeps what it started with locks, logs and bytes, 5 KB each;
a controller that is measured over it seems to need half as much again.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Self

from nexthos_controller.execution import Execution, Listing, LogLine, Spec, Stopped
from nexthos_controller.executors.contract import LocalContext, ReplicaExecutor
from nexthos_controller.executors.shared.hints import Hints
from nexthos_shared import names
from nexthos_shared.model import Pipeline
from nexthos_shared.reasons import Problem

PLACE = "here"


class LeanWorld:
    """What runs, by pipeline. It outlives the executors over it."""

    def __init__(self) -> None:
        self.starts = 0
        self._there: dict[str, tuple[Execution, ...]] = {}

    @classmethod
    def load(cls, file: Path) -> Self:
        """As it was saved there; a new one if none was."""
        world = cls()
        if file.exists():
            for line in file.read_text().splitlines():
                world._add(Execution(**{**json.loads(line), "symptoms": ()}))
        return world

    def save(self, file: Path) -> None:
        """For another process."""
        file.write_text("".join(f"{json.dumps(asdict(e))}\n" for e in self.everything()))

    def __len__(self) -> int:
        return sum(len(executions) for executions in self._there.values())

    def begin(self, spec: Spec, replica: int, name: str) -> Execution:
        """Let it run."""
        self.starts += 1
        execution = Execution(
            name=name,
            id=spec.id,
            replica=replica,
            uid=f"{os.getpid()}.{self.starts}",
            executor=LeanExecutor.name,
            place=PLACE,
            spec_hash=spec.spec_hash,
            revision=spec.revision,
            digest=spec.digest,
            state="running",
            ready=True,
            started_at=time.time(),
            stop_timeout=spec.definition.stop_timeout,
        )
        self._add(execution)
        return execution

    def _add(self, execution: Execution) -> None:
        digest = sys.intern(execution.digest)  # all have the same configuration
        execution = replace(execution, digest=digest, executor=LeanExecutor.name, place=PLACE)
        self._there[execution.id] = (*self.of(execution.id), execution)

    def drop(self, execution: Execution) -> None:
        """Let it be gone."""
        there = self._there.pop(execution.id, ())
        if stays := tuple(e for e in there if e.uid != execution.uid):
            self._there[execution.id] = stays

    def of(self, pipeline_id: str) -> tuple[Execution, ...]:
        """What runs of one pipeline."""
        return self._there.get(pipeline_id, ())

    def everything(self) -> Iterable[Execution]:
        """What runs of all."""
        return (execution for there in self._there.values() for execution in there)


async def _silent(_: str) -> None:
    return


class LeanExecutor(ReplicaExecutor):
    """One controller's view of the world. `told` hears the id of each start, before it is made."""

    name = "fake"

    def __init__(self, context: LocalContext, world: LeanWorld) -> None:
        self.told: Callable[[str], Awaitable[None]] = _silent
        self._context = context
        self._world = world
        self._hints = Hints()

    async def __aexit__(self, *_: object) -> None:
        """See base.py."""
        self._hints.close()

    def check(self, definition: Pipeline) -> list[Problem]:
        """See base.py."""
        return []

    async def list(self) -> Listing:
        """See base.py."""
        return Listing(tuple(self._world.everything()), frozenset({PLACE}))

    async def find(self, pipeline_id: str) -> Listing:
        """See base.py."""
        return Listing(self._world.of(pipeline_id), frozenset({PLACE}))

    async def prepare(self, spec: Spec, replica: int) -> None:
        """See base.py: there is nothing to prepare."""

    async def start(self, spec: Spec, replica: int) -> Execution:
        """See base.py."""
        await self.told(spec.id)
        for execution in self._world.of(spec.id):
            if (execution.replica, execution.spec_hash) == (replica, spec.spec_hash):
                return execution
        await self._context.fetch(spec)
        self._context.guard()
        started = self._world.begin(spec, replica, self._name(spec, replica))
        self._hints.add(spec.id)
        return started

    def _name(self, spec: Spec, replica: int) -> str:
        owner = self._context.owner
        return names.execution_name(
            owner.namespace, spec.id, replica, owner.installation, spec.spec_hash
        )

    async def stop(self, execution: Execution, grace: float) -> Stopped:
        """See base.py: what is stopped is gone."""
        self._context.guard()
        self._world.drop(execution)
        self._hints.add(execution.id)
        return "drained"

    async def remove(self, execution: Execution) -> None:
        """See base.py: it went when it was stopped."""

    def events(self) -> AsyncIterator[str]:
        """See base.py."""
        return self._hints.listen()

    async def logs(
        self, execution: Execution, *, tail: int = 100, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        """See base.py: they say nothing."""
        nothing: tuple[LogLine, ...] = ()
        for line in nothing:
            yield line

    async def metrics(self, execution: Execution) -> str:
        """See base.py."""
        return ""
