"""What readers are told: phase and conditions, from the view after the last step was taken."""

from __future__ import annotations

from collections.abc import Iterable

from nexthos_controller.executors.base import Execution
from nexthos_controller.reconcile.failure import CRASH_LOOP_AFTER
from nexthos_controller.reconcile.steps import Sorted, sort_out
from nexthos_controller.reconcile.view import Decision, View
from nexthos_shared.models import (
    LISTED_EXECUTIONS,
    Condition,
    ConditionType,
    ExecutionReport,
    Memory,
    Phase,
    PipelineStatus,
)
from nexthos_shared.reasons import Problem, Reason


def report(view: View, decision: Decision, before: PipelineStatus | None) -> PipelineStatus:
    """The status to store. `updated_at` and `controller` are the writer's to fill."""
    target, memory = decision.target, decision.memory
    sorted_out = sort_out(view.executions, target)
    current = memory.current
    phase = _phase(view, decision, sorted_out)
    return PipelineStatus(
        observed_revision=view.entry.revision if view.entry else 0,
        phase=phase,
        ready=sum(1 for e in sorted_out.mine if e.state == "running" and e.ready),
        replicas=target.replicas,
        version=current.definition.version if current else None,
        digest=current.digest if current else None,
        restarts=sum(slot.restarts for slot in memory.slots.values()),
        conditions=_dated(_conditions(view, decision, sorted_out, phase), before, view.now),
        executions=[_line(e, memory) for e in view.executions[:LISTED_EXECUTIONS]],
        executions_total=len(view.executions),
        memory=memory,
    )


def _phase(view: View, decision: Decision, sorted_out: Sorted) -> Phase:
    running = any(e.state == "running" for e in view.executions)
    match decision.target.mode:
        case "none" if view.executions or view.silent:
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
            return _running_phase(decision, sorted_out)


def _running_phase(decision: Decision, sorted_out: Sorted) -> Phase:
    spec, memory = decision.target.spec, decision.memory
    if spec is not None and memory.completed == spec.spec_hash:
        return Phase.COMPLETED
    if spec is not None and memory.failed == spec.spec_hash:
        return Phase.FAILED
    live = [e for e in sorted_out.mine if e.state == "running"]
    if len(live) == decision.target.replicas and all(_got_ready(e, memory) for e in live):
        return Phase.RUNNING
    return Phase.CRASH_LOOP if _crash_loops(memory) else Phase.STARTING


def _got_ready(execution: Execution, memory: Memory) -> bool:
    """Whether this life of it was ready once: what comes and goes later is no new start."""
    slot = memory.slots.get(execution.replica)
    once = slot is not None and slot.uid == execution.uid and slot.was_ready
    return bool(execution.ready) or once


def _crash_loops(memory: Memory) -> bool:
    return any(slot.failures >= CRASH_LOOP_AFTER for slot in memory.slots.values())


def _conditions(
    view: View, decision: Decision, sorted_out: Sorted, phase: Phase
) -> Iterable[Condition]:
    yield _valid(view, decision)
    if decision.target.mode == "run":
        yield _ready(view, decision, sorted_out, phase)
    yield from _progress(view, decision, sorted_out)
    if view.silent:
        first = view.silent[0]
        yield _condition(ConditionType.REACHABLE, "False", first)
    if view.entry is None and view.executions:
        words = f"{len(view.executions)} execution(s) whose key is gone without a delete marker"
        yield _condition(ConditionType.ORPHANED, "True", Problem(Reason.ORPHANED, words))
    for warning in view.config.warnings[:1]:
        yield _condition(ConditionType.WARNING, "True", warning)


def _valid(view: View, decision: Decision) -> Condition:
    refused = decision.target.refused
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


def _ready(view: View, decision: Decision, sorted_out: Sorted, phase: Phase) -> Condition:
    kind = ConditionType.READY
    if phase is Phase.COMPLETED:
        return Condition(type=kind, status="True", reason=Reason.COMPLETED)
    if view.silent:
        words = "what runs is unknown while its place does not answer"
        return Condition(
            type=kind, status="Unknown", reason=Reason.EXECUTOR_UNREACHABLE, message=words
        )
    ready = [e for e in sorted_out.mine if e.state == "running" and e.ready]
    if len(ready) == decision.target.replicas:
        return Condition(type=kind, status="True", reason=Reason.READY)
    return _condition(kind, "False", _why_not_ready(view, decision, sorted_out, phase))


def _why_not_ready(view: View, decision: Decision, sorted_out: Sorted, phase: Phase) -> Problem:
    memory = decision.memory
    slot = next((s for s in memory.slots.values() if s.ended and s.problem), None)
    if slot is not None and slot.problem is not None:
        cause = slot.problem
        if phase is Phase.FAILED:
            words = f"failed {slot.restarts} times, no retry is left: {cause.message}"
            return Problem(Reason.RETRIES_EXHAUSTED, words)
        wait = f", next start in {max(slot.not_before - view.now, 0):.0f} s"
        reason = Reason.CRASH_LOOP if phase is Phase.CRASH_LOOP else cause.reason
        row = f" {slot.failures} times in a row" if slot.failures > 1 else ""
        words = f"ended{row}{wait}: {cause.message}"
        return Problem(reason, words, file=cause.file, line=cause.line, column=cause.column)
    if view.fault is not None:
        return view.fault
    live = [e for e in sorted_out.mine if e.state == "running" and not e.ready]
    for execution in live:
        if execution.problem is not None and _got_ready(execution, memory):
            return execution.problem
    words = "inputs and outputs are not all connected yet" if live else "it is being started"
    return Problem(Reason.STARTING, words)


def _progress(view: View, decision: Decision, sorted_out: Sorted) -> Iterable[Condition]:
    kind = ConditionType.PROGRESSING
    if view.fault is not None:
        if view.fault.reason is Reason.NAME_CONFLICT:
            yield _condition(ConditionType.NAME_CONFLICT, "True", view.fault)
        yield _condition(kind, "False", view.fault)
    elif decision.target.mode == "run" and (sorted_out.others or decision.target.to_lint):
        words = "a newer definition is being put in place"
        yield _condition(kind, "True", Problem(Reason.UPDATING, words))


def _condition(kind: ConditionType, status: str, problem: Problem) -> Condition:
    return Condition.model_validate(
        {
            "type": kind,
            "status": status,
            "reason": problem.reason,
            "message": problem.message,
            "file": problem.file,
            "line": problem.line,
            "column": problem.column,
        }
    )


def _dated(
    conditions: Iterable[Condition], before: PipelineStatus | None, now: float
) -> list[Condition]:
    """A condition keeps its date as long as its status and reason stay the same."""
    dated = []
    for condition in conditions:
        old = before.condition(condition.type) if before else None
        same = old and (old.status, old.reason) == (condition.status, condition.reason)
        dated.append(condition.model_copy(update={"since": old.since if old and same else now}))
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
