"""Transitions: which events lie between two statuses of a pipeline, in the order to tell them.

Comes in: the status as it was stored before, and as it is stored now. Goes out: what a reader of the
events needs to follow the story without the statuses. Nothing is told of a start that goes as usual
but its phases.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nexthos_shared.model import (
    Condition,
    ConditionType,
    EventData,
    EventType,
    Phase,
    PipelineStatus,
)
from nexthos_shared.reasons import Problem, Reason

_REASONS = {
    Phase.DRAFT: Reason.DRAFT,
    Phase.STARTING: Reason.STARTING,
    Phase.RUNNING: Reason.READY,
    Phase.STOPPING: Reason.STOPPING,
    Phase.PAUSED: Reason.PAUSED,
    Phase.COMPLETED: Reason.COMPLETED,
    Phase.CRASH_LOOP: Reason.CRASH_LOOP,
    Phase.FAILED: Reason.RETRIES_EXHAUSTED,
    Phase.INVALID: Reason.INVALID_DEFINITION,
    Phase.UNKNOWN: Reason.EXECUTOR_UNREACHABLE,
}
_OF_STARTING = {Reason.STARTING, Reason.CRASH_LOOP, Reason.RETRIES_EXHAUSTED}


@dataclass(frozen=True, slots=True)
class Transition:
    """One event to be, without its envelope."""

    type: EventType
    data: EventData


def transitions(
    key: str, before: PipelineStatus | None, after: PipelineStatus
) -> Iterable[Transition]:
    """What happened between two statuses, oldest first."""
    tell = _Teller(key, before, after)
    yield from tell.drift()
    yield from tell.restarts()
    yield from tell.conditions()
    yield from tell.phase()


def deletion(key: str, before: PipelineStatus) -> Transition:
    """The last event of a pipeline."""
    data = EventData(
        pipeline=key, reason=Reason.DELETED, before=before.phase, revision=before.observed_revision
    )
    return Transition(EventType.DELETED, data)


@dataclass(frozen=True, slots=True)
class _Teller:
    key: str
    before: PipelineStatus | None
    after: PipelineStatus

    def drift(self) -> Iterable[Transition]:
        more = self.after.drifts - (self.before.drifts if self.before else 0)
        if more > 0:
            words = f"{more} execution(s) found otherwise than left, and put right"
            yield self._of(EventType.DRIFT, Problem(Reason.DRIFTED, words), bad=True)

    def restarts(self) -> Iterable[Transition]:
        """Ends that were counted since."""
        for replica, slot in self.after.memory.slots.items():
            old = self.before.memory.slots.get(replica) if self.before else None
            counted = old.restarts if old is not None else 0
            if slot.restarts <= counted or slot.problem is None:
                continue
            words = f"replica {replica} ended: {slot.problem.message}"
            yield self._of(EventType.RESTART, Problem(slot.problem.reason, words), bad=True)

    def conditions(self) -> Iterable[Transition]:
        """Conditions that went bad, and those that are good again."""
        for condition in self.after.conditions:
            old = self.before.condition(condition.type) if self.before else None
            if old is not None and (old.status, old.reason) == (condition.status, condition.reason):
                continue
            bad = condition.is_bad
            if self._goes_without_saying(condition, old):
                continue
            yield self._of(EventType.CONDITION, condition.problem, bad=bad)

    def _goes_without_saying(self, condition: Condition, old: Condition | None) -> bool:
        if condition.type is ConditionType.READY:
            if condition.reason in _OF_STARTING or self._phase_changed:
                return True
            return any(s.ended for s in self.after.memory.slots.values())  # told as a restart
        if condition.type is ConditionType.PROGRESSING:
            return False
        return not condition.is_bad and (old is None or not old.is_bad)

    @property
    def _phase_changed(self) -> bool:
        return self.before is None or self.before.phase is not self.after.phase

    @property
    def _scaled_down(self) -> bool:
        """Whether replicas that are not wanted any more are gone now, and those that stay are ready."""
        before, after = self.before, self.after
        if before is None or after.phase is not Phase.RUNNING or before.version != after.version:
            return False
        ready, moves = (
            before.condition(t) for t in (ConditionType.READY, ConditionType.PROGRESSING)
        )
        if ready is None or ready.reason != Reason.READY:
            return False  # that it is ready is told as a condition
        if moves is None or moves.reason != Reason.UPDATING:
            return False
        were = max(before.executions_total, before.replicas)
        return after.ready == after.replicas == after.executions_total < were

    def phase(self) -> Iterable[Transition]:
        if not self._phase_changed:
            if self._scaled_down:
                words = f"version {self.after.version}, {self.after.replicas} replica(s)"
                yield self._of(EventType.PHASE, Problem(Reason.READY, words), bad=False)
            return
        phase, complaint = self.after.phase, self.after.complaint
        reason, message = _REASONS[phase], ""
        if phase.is_bad and complaint is not None:
            reason, message = complaint.reason, complaint.message
        elif phase in (Phase.STARTING, Phase.RUNNING) and self.after.version:
            message = f"version {self.after.version}"
        yield self._of(EventType.PHASE, Problem(reason, message), bad=phase.is_bad)

    def _of(self, kind: EventType, problem: Problem, *, bad: bool) -> Transition:
        data = EventData(
            pipeline=self.key,
            reason=problem.reason,
            message=problem.message,
            phase=self.after.phase,
            before=self.before.phase if self.before else None,
            version=self.after.version,
            revision=self.after.observed_revision,
            restarts=self.after.restarts,
            bad=bad,
        )
        return Transition(kind, data)
