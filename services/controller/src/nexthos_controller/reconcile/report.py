"""What readers are told: phase and conditions, from the view after the last step was taken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from msgspec import structs

from nexthos_controller.execution import SAYS, Execution, Found, WorkloadState
from nexthos_controller.reconcile import workloads
from nexthos_controller.reconcile.drift import drifts
from nexthos_controller.reconcile.failure import CRASH_LOOP_AFTER, waits
from nexthos_controller.reconcile.steps import Sorted, sort_out
from nexthos_controller.reconcile.update import broker_away, no_way_back
from nexthos_controller.reconcile.view import Decision, View
from nexthos_shared.model import (
    LISTED_EXECUTIONS,
    Condition,
    ConditionType,
    ExecutionReport,
    Memory,
    Phase,
    PipelineStatus,
    Slot,
    Truth,
)
from nexthos_shared.reasons import Problem, Reason

STARTS_WITHIN = 2.0  # seconds in which an error of a start is not worth a word
SYMPTOMS = {
    Reason.ERRORING: ConditionType.ERRORING,
    Reason.NOT_DELIVERING: ConditionType.NOT_DELIVERING,
}


def report(view: View, decision: Decision, before: PipelineStatus | None) -> PipelineStatus:
    """The status to store. `updated_at` and `controller` are the writer's to fill."""
    target, memory = decision.target, decision.memory
    sorted_out = sort_out(view.own, target)
    current = memory.current
    told = Told(view, decision, sorted_out, before)
    phase = _phase(told)
    return PipelineStatus(
        observed_revision=view.entry.revision if view.entry else 0,
        phase=phase,
        ready=told.ready,
        replicas=target.replicas,
        version=current.definition.version if current else None,
        digest=current.digest if current else None,
        restarts=sum(slot.restarts for slot in memory.slots.values()),
        drifts=drifts(view, decision, sorted_out, before),
        conditions=_dated(_conditions(told, phase), before, view.now),
        executions=[_line(e, memory) for e in view.executions[:LISTED_EXECUTIONS]],
        executions_total=len(view.executions),
        memory=memory,
    )


def _phase(told: Told) -> Phase:
    view, decision = told.view, told.decision
    running = any(e.state in ("running", "stopping") for e in view.executions)
    running = running or any(w.replicas or w.state == "deleting" for w in view.workloads)
    match decision.target.mode:
        case "none" if not view.is_empty or view.silent:
            return Phase.STOPPING
        case "keep" if running:
            return Phase.STOPPING
        case "none":
            return Phase.INVALID if decision.target.refused else Phase.DRAFT
        case "keep":
            return Phase.UNKNOWN if view.silent else Phase.PAUSED
        case "leave":
            return Phase.UNKNOWN if view.entry is None or running else Phase.INVALID
        case "run" if view.silent:
            return Phase.UNKNOWN
        case _:
            return _running_phase(told)


def _running_phase(told: Told) -> Phase:
    spec, memory = told.decision.target.spec, told.decision.memory
    if spec is not None and memory.completed == spec.spec_hash:
        return Phase.COMPLETED
    if spec is not None and memory.failed == spec.spec_hash:
        return Phase.FAILED
    if told.is_workload:
        return _phase_of_workload(told)
    live = told.live
    if len(live) == told.decision.target.replicas and all(_got_ready(e, memory) for e in live):
        return Phase.RUNNING
    return Phase.CRASH_LOOP if _crash_loops(memory) else Phase.STARTING


def _phase_of_workload(told: Told) -> Phase:
    """What comes and goes after it was ready once is no new start, as with executions."""
    there, slot = told.workload, told.decision.memory.slots.get(0)
    spec = told.decision.target.spec
    if there is None or spec is None or slot is None or there.spec_hash != spec.spec_hash:
        return Phase.STARTING
    if there.problem is not None and there.problem.reason is Reason.CRASH_LOOP:
        return Phase.CRASH_LOOP
    return Phase.RUNNING if slot.was_ready and slot.uid == there.uid else Phase.STARTING


def _got_ready(execution: Execution, memory: Memory) -> bool:
    """Whether this life of it was ready once: what comes and goes later is no new start."""
    slot = memory.slots.get(execution.replica)
    once = slot is not None and slot.uid == execution.uid and slot.was_ready
    return bool(execution.ready) or once


def _crash_loops(memory: Memory) -> bool:
    return any(slot.failures >= CRASH_LOOP_AFTER for slot in memory.slots.values())


@dataclass(frozen=True, slots=True)
class Told:
    """What conditions are told from."""

    view: View
    decision: Decision
    found: Sorted
    before: PipelineStatus | None

    @property
    def is_workload(self) -> bool:
        """Whether a platform does the replicas of what should run."""
        return workloads.runs_as_workload(self.view, self.decision.target.spec)

    @property
    def workload(self) -> WorkloadState | None:
        """What its platform says of it."""
        spec = self.decision.target.spec
        return workloads.mine(self.view, spec) if spec is not None and self.is_workload else None

    @property
    def live(self) -> list[Execution]:
        """The wanted executions that run."""
        spec = self.decision.target.spec
        if spec is not None and self.is_workload:
            its = (e for e in self.view.executions if e.executor == spec.executor)
            return [e for e in its if e.state == "running" and e.spec_hash == spec.spec_hash]
        return [e for e in self.found.mine if e.state == "running"]

    @property
    def ready(self) -> int:
        """How many executions are ready now."""
        if self.is_workload:
            return self.workload.ready if self.workload is not None else 0
        return sum(1 for e in self.live if e.ready)

    @property
    def is_updating(self) -> bool:
        """Whether something is still there that has to give way."""
        return bool(self.found.others) or any(w is not self.workload for w in self.view.workloads)

    @property
    def warnings(self) -> list[Problem]:
        """Of the bytes that run: worth knowing, no reason to refuse."""
        current = self.decision.memory.current
        known = current.traits.warnings if current and current.traits else []
        ends = current is not None and current.definition.lifecycle == "job"
        return [w for w in known if not (ends and w.reason is Reason.FINITE_INPUT)]

    @property
    def broker_away(self) -> Problem | None:
        """The NATS that it talks to, if that is away."""
        return broker_away(self.view, self.decision.memory.current)

    @property
    def all_ready(self) -> bool:
        """Whether every replica is ready, or was a moment ago: a short loss is not told."""
        live, replicas = self.live, self.decision.target.replicas
        spec = self.decision.target.spec
        ready = len(live) == replicas and all(e.ready for e in live)
        if spec is not None and self.is_workload:
            ready = workloads.is_ready(self.workload, spec, replicas)
        if ready and not self.broker_away:
            return True
        readiness = self.decision.memory.readiness
        was = self.before.condition(ConditionType.READY) if self.before else None
        short = self.ready if self.is_workload else len(live)
        if short < replicas or readiness is None or was is None or was.reason != Reason.READY:
            return False
        return self.view.now - readiness.since < self.view.ready_debounce


def _conditions(told: Told, phase: Phase) -> Iterable[Condition]:
    view, target = told.view, told.decision.target
    yield _valid(view, told.decision)
    if target.mode == "run":
        yield _ready(told, phase)
    yield from _progress(told)
    if view.silent:
        yield _condition(ConditionType.REACHABLE, "False", view.silent[0])
    if view.entry is None and not view.is_empty:
        count = len(view.executions) or len(view.workloads)
        words = f"{count} execution(s) whose key is gone without a delete marker"
        yield _condition(ConditionType.ORPHANED, "True", Problem(Reason.ORPHANED, words))
    yield from _symptoms(told)
    wanted: list[Found] = [*told.live, *view.workloads]
    outdated = [e.outdated for e in wanted if e.outdated]
    if outdated:
        words = f"{outdated[0]}; it runs on, and `nexthos rollout` renews it"
        yield _condition(ConditionType.OUTDATED, "True", Problem(Reason.OUTDATED, words))
    for warning in told.warnings[:1]:
        yield _condition(ConditionType.WARNING, "True", warning)


def _symptoms(told: Told) -> Iterable[Condition]:
    """What goes wrong while it runs: of each kind the first replica's that has it.

    Errors that the configuration deals with itself are none: the demo's own pipelines do.
    """
    current = told.decision.memory.current
    handled = current.traits.handled if current and current.traits else []
    for reason, kind in SYMPTOMS.items():
        found = [p for e in told.live for p in e.symptoms if p.reason is reason]
        unhandled = [p for p in found if not _is_below(p.field or "", handled)]
        if unhandled:
            yield _condition(kind, "True", unhandled[0])


def _is_below(path: str, parents: Iterable[str]) -> bool:
    return any(path == parent or path.startswith(f"{parent}.") for parent in parents)


def _valid(view: View, decision: Decision) -> Condition:
    refused = decision.target.refused
    if refused is not None and refused.reason is Reason.ROLLED_BACK:
        refused = None  # it can be run, and was: how that went is told as Progressing
    if refused is None and view.entry is not None and view.entry.problem is not None:
        refused = view.entry.problem
    if refused is not None:
        return _condition(ConditionType.VALID, "False", refused)
    spec = decision.target.spec
    unasked = [
        p
        for p in (view.lints.get(spec.spec_hash, ()) if spec else ())
        if p.reason is Reason.NOT_LINTED
    ]
    if unasked:
        return _condition(ConditionType.VALID, "Unknown", unasked[0])
    return Condition(type=ConditionType.VALID, status="True", reason=Reason.VALID)


def _ready(told: Told, phase: Phase) -> Condition:
    kind = ConditionType.READY
    if phase is Phase.COMPLETED:
        return Condition(type=kind, status="True", reason=Reason.COMPLETED)
    if told.view.silent:
        words = "what runs is unknown while its place does not answer"
        return Condition(
            type=kind, status="Unknown", reason=Reason.EXECUTOR_UNREACHABLE, message=words
        )
    if told.all_ready:
        return Condition(type=kind, status="True", reason=Reason.READY)
    return _condition(kind, "False", _why_not_ready(told, phase))


def _why_not_ready(told: Told, phase: Phase) -> Problem:
    if told.is_workload:
        return _why_workload_is_not_ready(told, phase)
    memory = told.decision.memory
    slot = next((s for s in memory.slots.values() if s.ended and s.problem), None)
    due = slot is not None and not waits(slot, told.view.now)
    if told.view.fault is not None and due:
        return told.view.fault  # how it ended keeps nobody from starting it
    if slot is not None and slot.problem is not None:
        return _why_it_ended(told, phase, slot, slot.problem)
    if told.view.fault is not None:
        return told.view.fault
    live = [e for e in told.live if not e.ready]
    if told.broker_away is not None and not live:
        return told.broker_away
    for execution in live:
        late = told.decision.late is not None or _got_ready(execution, memory)
        if execution.problem is not None and (late or _is_telling(told, execution)):
            return execution.problem
    words = "inputs and outputs are not all connected yet" if live else "it is being started"
    return Problem(Reason.STARTING, words)


def _why_workload_is_not_ready(told: Told, phase: Phase) -> Problem:
    if told.view.fault is not None:
        return told.view.fault
    cause = told.workload.problem if told.workload is not None else None
    if phase is Phase.FAILED and cause is not None:
        return Problem(Reason.RETRIES_EXHAUSTED, f"failed, no retry is left: {cause.message}")
    return cause or Problem(Reason.STARTING, "its platform has not got all replicas ready yet")


def _is_telling(told: Told, execution: Execution) -> bool:
    """Whether what it says is more than that it is not connected yet, as any is at its start."""
    slot, problem = told.decision.memory.slots.get(execution.replica), execution.problem
    if problem is None or slot is None or told.view.now - slot.running_since < STARTS_WITHIN:
        return False
    return problem.reason is not Reason.NOT_CONNECTED or SAYS in problem.message


def _why_it_ended(told: Told, phase: Phase, slot: Slot, cause: Problem) -> Problem:
    if phase is Phase.FAILED:
        words = f"failed {slot.restarts} times, no retry is left: {cause.message}"
        return Problem(Reason.RETRIES_EXHAUSTED, words)
    wait = f", next start {_when(slot, told.view.now)}"
    reason = Reason.CRASH_LOOP if phase is Phase.CRASH_LOOP else cause.reason
    row = f" {slot.failures} times in a row" if slot.failures > 1 else ""
    finite = [w for w in told.warnings if w.reason is Reason.FINITE_INPUT]
    why = f" ({finite[0].message})" if finite and cause.reason is Reason.EXITED_CLEANLY else ""
    words = f"ended{row}{wait}: {cause.message}{why}"
    return Problem(reason, words, file=cause.file, line=cause.line, column=cause.column)


def _when(slot: Slot, now: float) -> str:
    """When it is started again; a moment, since a time that is left would be another at each look."""
    if not waits(slot, now):
        return "now"
    return f"at {datetime.fromtimestamp(slot.not_before, UTC):%H:%M:%S} UTC"


def _progress(told: Told) -> Iterable[Condition]:
    kind, view, decision = ConditionType.PROGRESSING, told.view, told.decision
    target, late = decision.target, decision.late
    if view.fault is not None:
        if view.fault.reason is Reason.NAME_CONFLICT:
            yield _condition(ConditionType.NAME_CONFLICT, "True", view.fault)
        yield _condition(kind, "False", view.fault)
    elif target.refused is not None and target.refused.reason is Reason.ROLLED_BACK:
        yield _condition(kind, "False", target.refused)
    elif late is not None and target.spec is not None:
        stays = no_way_back(view, target.spec, decision.memory)
        words = f"{late.message}; it stays, since {stays}"
        yield _condition(kind, "False", Problem(Reason.READY_TIMEOUT, words))
    elif target.mode == "run" and (told.is_updating or target.to_lint):
        words = "a newer definition is being put in place"
        yield _condition(kind, "True", Problem(Reason.UPDATING, words))


def _condition(kind: ConditionType, status: Truth, problem: Problem) -> Condition:
    return Condition(
        type=kind,
        status=status,
        reason=problem.reason,
        message=problem.message,
        file=problem.file,
        line=problem.line,
        column=problem.column,
    )


def _dated(
    conditions: Iterable[Condition], before: PipelineStatus | None, now: float
) -> list[Condition]:
    """A condition keeps its date as long as its status and reason stay the same."""
    dated = []
    for condition in conditions:
        old = before.condition(condition.type) if before else None
        if old is None or (old.status, old.reason) != (condition.status, condition.reason):
            dated.append(structs.replace(condition, since=now))
        elif old.problem == condition.problem:
            dated.append(old)
        else:
            dated.append(structs.replace(condition, since=old.since))
    return dated


def _line(execution: Execution, memory: Memory) -> ExecutionReport:
    slot = memory.slots.get(execution.replica)
    ended = execution.exit
    return ExecutionReport(
        name=execution.name,
        uid=execution.uid,
        executor=execution.executor,
        place=execution.place,
        replica=execution.replica,
        spec_hash=execution.spec_hash,
        state=execution.state,
        ready=execution.ready if execution.state == "running" else None,
        restarts=slot.restarts if slot and slot.uid == execution.uid else 0,
        exit_code=ended.code if ended else None,
        reason=ended.problem.reason if ended and ended.problem else None,
        started_at=execution.started_at,
        endpoint=execution.endpoint if execution.state == "running" else None,
    )
