"""A platform in memory that does replicas by itself, and the WorkloadExecutor that speaks to it.

A `FakePlatform` outlives the executors that look at it. Its `faults` make it misbehave as real ones do: it
accepts late, rolls out half, stalls, deletes slowly, refuses, answers for no place; and somebody else may
change what was applied (`meddle`).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

from nexthos_controller.execution import (
    Execution,
    Kind,
    Listing,
    LogLine,
    Owner,
    Progress,
    Workload,
    WorkloadState,
)
from nexthos_controller.executors.contract import ExecutorContext, WorkloadExecutor
from nexthos_controller.executors.shared.hints import Hints
from nexthos_shared import names
from nexthos_shared.errors import ExecutorUnreachable, NameConflict, NexthosError, StartFailed
from nexthos_shared.model import Pipeline
from nexthos_shared.reasons import Problem, Reason


@dataclass
class PlatformFaults:
    """Misbehaviour, to be set and reset by a test at any time."""

    late: bool = False  # what is applied is accepted, and done when `catch_up` is called
    half: bool = False  # one replica less than asked for becomes ready
    stalled: Problem | None = None  # what is applied gets no further
    slow: bool = False  # what is deleted drains until `drained` is called
    refuse: bool = False  # nothing is accepted
    silent: set[str] = field(default_factory=set)  # places that don't answer
    fail: dict[str, list[NexthosError]] = field(default_factory=dict)  # by method, one by one


@dataclass
class Deployed:
    """What the platform keeps of one workload."""

    owner: Owner
    name: str
    kind: Kind
    uid: str
    applied: Workload
    content: bytes
    pods: list[Execution] = field(default_factory=list)
    since: float = 0.0  # seconds since the epoch
    ended: Progress | None = None  # complete, failed, deleting
    problem: Problem | None = None
    restarts: int = 0
    altered: str = ""


class FakePlatform:
    """Give the same one to several executors to let them share it."""

    def __init__(self, place: str = "cluster") -> None:
        self.place = place
        self.faults = PlatformFaults()
        self.calls: list[tuple[str, str]] = []  # method and pipeline, of each effect
        self.deployed: dict[str, Deployed] = {}
        self.foreign: set[str] = set()  # names that something else carries
        self.hints: list[Hints] = []
        self._waiting: list[tuple[Deployed, Workload, bytes]] = []
        self._numbers = itertools.count(1)

    # ---- what a test does to it

    def running(self, pipeline_id: str | None = None) -> list[Execution]:
        """What really runs, whatever is said of it."""
        pods = [p for d in self.deployed.values() for p in d.pods]
        return [p for p in pods if pipeline_id in (None, p.id)]

    def catch_up(self) -> None:
        """Do what was accepted late."""
        waiting, self._waiting = self._waiting, []
        for deployed, workload, content in waiting:
            if deployed.ended != "deleting":
                self._roll_out(deployed, workload, content)

    def drained(self) -> None:
        """Let what is being deleted be gone."""
        for name in [n for n, d in self.deployed.items() if d.ended == "deleting"]:
            self._tell(self.deployed.pop(name))

    def finish(self, pipeline_id: str, problem: Problem | None = None) -> None:
        """Let a job end: completed, or failed with all its retries used up."""
        for deployed in self._of(pipeline_id):
            deployed.ended, deployed.problem = "failed" if problem else "complete", problem
            deployed.pods = []
            self._tell(deployed)

    def crash(self, pipeline_id: str) -> None:
        """Let one replica end and be started again by the platform."""
        for deployed in self._of(pipeline_id):
            deployed.restarts += 1
            pod = replace(deployed.pods[0], uid=f"pod-{next(self._numbers)}")
            deployed.pods[0] = pod
            self._tell(deployed)

    def meddle(self, pipeline_id: str, replicas: int) -> None:
        """Let somebody else scale it."""
        for deployed in self._of(pipeline_id):
            deployed.altered = f"replicas were set to {replicas}"
            self._scale(deployed, replicas)

    def vanish(self, pipeline_id: str) -> None:
        """Let somebody else delete it, without a word to anybody."""
        for deployed in self._of(pipeline_id):
            del self.deployed[deployed.name]

    def _of(self, pipeline_id: str) -> list[Deployed]:
        found = [d for d in self.deployed.values() if d.applied.spec.id == pipeline_id]
        assert found, f"nothing of {pipeline_id} is deployed"
        return found

    # ---- what executors do to it

    def apply(self, owner: Owner, name: str, workload: Workload, content: bytes) -> None:
        """Create it, or change it in place."""
        deployed = self.deployed.get(name)
        if name in self.foreign or (deployed is not None and deployed.owner != owner):
            raise NameConflict(f"{name} is there and is not ours")
        if deployed is not None and deployed.ended == "deleting":
            raise StartFailed(f"{name} is still being deleted")
        if self.faults.refuse:
            raise StartFailed("no quota is left")
        if deployed is None:
            kind, uid = workload.spec.definition.lifecycle, f"workload-{next(self._numbers)}"
            deployed = Deployed(owner, name, kind, uid, workload, content)
            self.deployed[name] = deployed
        if self.faults.late:
            self._waiting.append((deployed, workload, content))
            return
        self._roll_out(deployed, workload, content)

    def delete(self, deployed: Deployed) -> None:
        """Have it drain, and be gone."""
        deployed.ended = "deleting"
        if self.faults.slow:
            self._tell(deployed)
        else:
            self.drained()

    def _roll_out(self, deployed: Deployed, workload: Workload, content: bytes) -> None:
        if deployed.applied.spec.spec_hash != workload.spec.spec_hash:
            deployed.pods = []
        deployed.applied, deployed.content, deployed.altered = workload, content, ""
        self._scale(deployed, workload.replicas)

    def _scale(self, deployed: Deployed, replicas: int) -> None:
        spec = deployed.applied.spec
        deployed.pods = deployed.pods[:replicas]
        for replica in range(len(deployed.pods), replicas):
            uid = f"pod-{next(self._numbers)}"
            deployed.pods.append(
                Execution(
                    name=f"{deployed.name}-{uid}",
                    id=spec.id,
                    replica=replica,
                    uid=uid,
                    executor="workloads",
                    place=self.place,
                    spec_hash=spec.spec_hash,
                    revision=spec.revision,
                    digest=spec.digest,
                    state="running",
                    started_at=time.time(),
                )
            )
        self._tell(deployed)

    def _tell(self, deployed: Deployed) -> None:
        for hints in self.hints:
            hints.add(deployed.applied.spec.id)

    def ready_pods(self, deployed: Deployed) -> list[Execution]:
        """Its pods, with what is said of their readiness."""
        few = self.faults.stalled is not None or deployed.ended == "deleting"
        most = 0 if few else len(deployed.pods) - (1 if self.faults.half else 0)
        return [replace(p, ready=n < most) for n, p in enumerate(deployed.pods)]

    def state(self, deployed: Deployed) -> WorkloadState:
        """What the platform says of it."""
        pods, wanted = self.ready_pods(deployed), deployed.applied.replicas
        ready = sum(1 for p in pods if p.ready)
        progress: Progress = "available" if ready >= wanted else "progressing"
        if self.faults.stalled is not None and wanted:
            progress = "stalled"
        spec = deployed.applied.spec
        return WorkloadState(
            id=spec.id,
            kind=deployed.kind,
            uid=deployed.uid,
            executor="workloads",
            place=self.place,
            spec_hash=spec.spec_hash,
            revision=spec.revision,
            digest=spec.digest,
            replicas=len(pods) if deployed.altered else wanted,
            ready=ready,
            updated=len(pods),
            restarts=deployed.restarts,
            state=deployed.ended or progress,
            problem=deployed.problem or self.faults.stalled,
            altered=deployed.altered,
        )


class FakeWorkloads(WorkloadExecutor):
    """One controller's view of a platform."""

    name = "workloads"

    def __init__(self, context: ExecutorContext, platform: FakePlatform | None = None) -> None:
        self.platform = platform or FakePlatform()
        self._context = context
        self._hints = Hints()

    async def __aenter__(self) -> Self:
        self.platform.hints.append(self._hints)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.platform.hints.remove(self._hints)
        self._hints.close()

    def check(self, definition: Pipeline) -> list[Problem]:
        """See contract.py."""
        if definition.connection in self._context.connections:
            return []
        words = f"no connection {definition.connection!r}"
        return [Problem(Reason.UNKNOWN_CONNECTION, words, field="connection")]

    async def list(self) -> Listing:
        """See contract.py."""
        return self._listing(None)

    async def find(self, pipeline_id: str) -> Listing:
        """See contract.py."""
        return self._listing(pipeline_id)

    def _listing(self, pipeline_id: str | None) -> Listing:
        platform = self.platform
        self._meet("list")
        if platform.place in platform.faults.silent:
            raise ExecutorUnreachable(f"{platform.place} does not answer")
        ours = [d for d in platform.deployed.values() if d.owner == self._context.owner]
        ours = [d for d in ours if pipeline_id in (None, d.applied.spec.id)]
        pods = tuple(p for d in ours for p in platform.ready_pods(d))
        states = tuple(platform.state(d) for d in ours)
        return Listing(pods, frozenset({platform.place}), states)

    def _meet(self, method: str) -> None:
        if errors := self.platform.faults.fail.get(method):
            raise errors.pop(0)

    async def apply(self, workload: Workload) -> None:
        """See contract.py."""
        self._answers()
        self._meet("apply")
        content = await self._context.fetch(workload.spec)
        self._context.guard()
        self.platform.calls.append(("apply", workload.spec.id))
        name = self._name(workload.spec.id, workload.spec.definition.lifecycle)
        self.platform.apply(self._context.owner, name, workload, content)

    def _name(self, pipeline_id: str, kind: Kind) -> str:
        owner = self._context.owner
        hashed = names.execution_name(owner.namespace, pipeline_id, 0, owner.installation, kind)
        return f"{hashed}-{kind}"

    async def delete(self, workload: WorkloadState) -> None:
        """See contract.py."""
        self._answers()
        self._meet("delete")
        deployed = self.platform.deployed.get(self._name(workload.id, workload.kind))
        if deployed is None or deployed.uid != workload.uid:
            return
        if deployed.owner != self._context.owner or deployed.ended == "deleting":
            return
        self._context.guard()
        self.platform.calls.append(("delete", workload.id))
        self.platform.delete(deployed)

    def _answers(self) -> None:
        if self.platform.place in self.platform.faults.silent:
            raise ExecutorUnreachable(f"{self.platform.place} does not answer")

    def events(self) -> AsyncIterator[str]:
        """See contract.py."""
        return self._hints.listen()

    async def logs(
        self, execution: Execution, *, tail: int = 100, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        """See contract.py: a pod says once that it began."""
        if tail:
            yield LogLine(f"{execution.name} began", "output")

    async def metrics(self, execution: Execution) -> str:
        """See contract.py."""
        return f'fake_up{{uid="{execution.uid}"}} 1\n'
