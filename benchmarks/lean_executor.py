"""A fake executor for thousands: executions that are always well, and take next to no memory.

The one that tests use notes each call and keeps what it started with locks, logs and bytes, 5 KB each;
a controller that is measured over it seems to need half as much again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Self

from nexthos_controller.executors.base import (
    Execution,
    Executor,
    ExecutorContext,
    Listing,
    LogLine,
    Spec,
)
from nexthos_controller.executors.hints import Hints
from nexthos_shared import names
from nexthos_shared.models import Pipeline
from nexthos_shared.reasons import Problem

PLACE = "here"
BETWEEN = "\x1f"


class LeanWorld:
    """What runs: a string each, by pipeline and replica. It outlives the executors over it."""

    def __init__(self) -> None:
        self.starts = 0
        self._packed: dict[str, tuple[str, ...]] = {}

    @classmethod
    def load(cls, file: Path) -> Self:
        """As it was saved there; a new one if none was."""
        world = cls()
        if file.exists():
            said = json.loads(file.read_text())
            world._packed = {key: tuple(executions) for key, executions in said.items()}
        return world

    def save(self, file: Path) -> None:
        """For another process."""
        file.write_text(json.dumps(self._packed))

    def __len__(self) -> int:
        return sum(len(replicas) for replicas in self._packed.values())

    def add(self, spec: Spec, replica: int, name: str) -> None:
        """Let it run."""
        self.starts += 1
        said = (str(replica), name, spec.spec_hash, spec.digest, str(spec.revision))
        moments = (
            f"{os.getpid()}.{self.starts}",
            repr(time.time()),
            repr(spec.definition.stop_timeout),
        )
        others = self._packed.get(spec.id, ())
        self._packed[spec.id] = (*others, BETWEEN.join(said + moments))

    def drop(self, pipeline_id: str, uid: str) -> None:
        """Let it be gone."""
        packed = self._packed.pop(pipeline_id, ())
        if stays := tuple(p for p in packed if p.split(BETWEEN)[5] != uid):
            self._packed[pipeline_id] = stays

    def of(self, pipeline_id: str) -> Iterable[Execution]:
        """What runs of one pipeline."""
        for packed in self._packed.get(pipeline_id, ()):
            replica, name, spec_hash, digest, revision, life, began, grace = packed.split(BETWEEN)
            yield Execution(
                name=name,
                id=pipeline_id,
                replica=int(replica),
                uid=life,
                executor=LeanExecutor.name,
                place=PLACE,
                spec_hash=spec_hash,
                revision=int(revision),
                digest=digest,
                state="running",
                ready=True,
                started_at=float(began),
                stop_timeout=float(grace),
            )

    def everything(self) -> Iterable[Execution]:
        """What runs of all."""
        for pipeline_id in self._packed:
            yield from self.of(pipeline_id)


async def _silent(_: str) -> None:
    return


class LeanExecutor(Executor):
    """One controller's view of the world. `told` hears the id of each start, before it is made."""

    name = "fake"

    def __init__(self, context: ExecutorContext, world: LeanWorld) -> None:
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
        return Listing(tuple(self._world.of(pipeline_id)), frozenset({PLACE}))

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
        self._world.add(spec, replica, self._name(spec, replica))
        self._hints.add(spec.id)
        return next(e for e in self._world.of(spec.id) if e.replica == replica)

    def _name(self, spec: Spec, replica: int) -> str:
        owner = self._context.owner
        return names.execution_name(
            owner.namespace, spec.id, replica, owner.installation, spec.spec_hash
        )

    async def stop(self, execution: Execution, grace: float) -> bool:
        """See base.py: what is stopped is gone."""
        self._context.guard()
        self._world.drop(execution.id, execution.uid)
        self._hints.add(execution.id)
        return True

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
