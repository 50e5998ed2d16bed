"""What holds once faults have stopped and everything was looked at twice: L1 to L4 of docs/faults.md."""

from __future__ import annotations

from nexthos_shared.model import Entry, Phase, Pipeline, PipelineStatus, Wanted
from nexthos_shared.reasons import Reason
from nexthos_testing.machine.acting import Acting
from nexthos_testing.machine.chronicle import matches
from nexthos_testing.machine.ground import Ground
from nexthos_testing.machine.judge import Violation
from nexthos_testing.machine.world import Life

CANT_BE_HAD = {Reason.CONFIG_MISSING, Reason.CONFIG_CHANGED}


class Goals:
    """What is stored, what runs and what is told, compared."""

    def __init__(self, ground: Ground, acting: Acting) -> None:
        self._ground = ground
        self._acting = acting

    def check(self) -> None:
        """Raise the first Violation."""
        keys = set(self._ground.chronicle.written) | {
            t.execution.id for _, t in self._ground.things()
        }
        for key in sorted(keys):
            entry = self._ground.entry(key)
            status = self._acting.statuses.status(key)
            self._is_as_desired(key, entry, status)
            self._tells(key, entry, status)

    def _is_as_desired(self, key: str, entry: Entry | None, status: PipelineStatus | None) -> None:
        running, things = self._ground.running(key), self._ground.things(key)
        if entry is None:
            return  # whatever is there stays
        if (entry.deleted or entry.wanted is Wanted.DRAFT) and things:
            raise Violation(
                "L2", f"{key} is gone, and {[t.execution.name for _, t in things]} stay"
            )
        if entry.wanted is Wanted.PAUSED and running:
            raise Violation("L1", f"{key} is paused, and {[r.execution.uid for r in running]} run")
        if self._ground.chronicle.is_valid(entry) and entry.pipeline is not None:
            self._runs(key, entry.pipeline, status)

    def _runs(self, key: str, wanted: Pipeline, status: PipelineStatus | None) -> None:
        if self._all_there(key, wanted) or self._is_over(key, wanted):
            return
        told = {c.reason for c in status.conditions if c.is_bad} if status else set()
        if told & CANT_BE_HAD and self._ground.chronicle.was_overwritten(key):
            return
        if status and self._gave_way(key, wanted, status):
            return
        there = [
            (e.replica, e.executor, e.state, e.name[-8:]) for e in self._ground.executions(key)
        ]
        raise Violation("L1", f"{key}: {wanted!r} is wanted, and there is {there} ({told})")

    def _all_there(self, key: str, wanted: Pipeline) -> bool:
        """Whether every replica of it runs, and nothing else does."""
        running = [life.execution for life in self._ground.running(key)]
        replicas = sorted(e.replica for e in running)
        right = all(matches(wanted, e) for e in running)
        return right and replicas == list(range(wanted.replicas))

    def _is_over(self, key: str, wanted: Pipeline) -> bool:
        """Whether it is a job that has finished, or has used up its retries."""
        if wanted.lifecycle != "job" or self._ground.running(key):
            return False
        lives = [x for x in self._lives(key) if matches(wanted, x.execution)]
        failed = sum(x.outcome == "failed" for x in lives)
        return failed > wanted.retries or any(x.outcome == "completed" for x in lives)

    def _gave_way(self, key: str, wanted: Pipeline, status: PipelineStatus) -> bool:
        """Whether it was tried, was not ready, and the whole of another definition runs again."""
        told = [c for c in status.conditions if c.reason is Reason.ROLLED_BACK]
        tried = any(
            matches(wanted, x.execution) and (not x.execution.ready or not x.runs)
            for x in self._lives(key)
        )
        before = [e.pipeline for e in self._ground.chronicle.written[key] if e.pipeline]
        return bool(told) and tried and any(self._all_there(key, p) for p in before)

    def _lives(self, key: str) -> list[Life]:
        """All that ever lived."""
        every = (x for world in self._ground.worlds.values() for x in world.lives.values())
        return [x for x in every if x.execution.id == key]

    def _tells(self, key: str, entry: Entry | None, status: PipelineStatus | None) -> None:
        if entry is None or entry.deleted:
            if entry is not None and status is not None:
                raise Violation("L3", f"{key} is deleted, and its status is {status.phase}")
            return
        if status is None:
            raise Violation("L3", f"{key} has no status")
        if status.observed_revision != entry.revision:
            words = f"{status.observed_revision}, {entry.revision} is stored"
            raise Violation("L3", f"{key}: the status speaks of revision {words}")
        fine = status.phase in (Phase.RUNNING, Phase.COMPLETED, Phase.PAUSED, Phase.DRAFT)
        refused = self._ground.chronicle.is_refused(entry)
        if status.complaint is None and (refused or not fine):
            raise Violation("L3", f"{key} is {status.phase}, and no reason is told")
