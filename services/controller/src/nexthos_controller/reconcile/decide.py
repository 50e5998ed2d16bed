"""Decide: from a view of one pipeline to the next steps. Pure; called until no step is left."""

from __future__ import annotations

from dataclasses import replace

from msgspec import structs

from nexthos_controller.execution import Spec
from nexthos_controller.reconcile import update, workloads
from nexthos_controller.reconcile.failure import account, doubtful, tried_afresh, waits
from nexthos_controller.reconcile.steps import is_over, sort_out, steps_towards
from nexthos_controller.reconcile.target import aim
from nexthos_controller.reconcile.view import Apply, Decision, Lint, Prepare, Start, Target, View
from nexthos_shared.model import Accepted, Held, Memory, Place, Wanted
from nexthos_shared.reasons import Reason

WATCH_STARTING = 5.0  # seconds: hints of becoming ready may be lost, so look again meanwhile
WATCH_ENDING = 2.0  # seconds: of an end that was asked for nobody may tell
WATCH_SILENT = 5.0  # seconds between looks at a place that does not answer


def decide(view: View) -> Decision:
    """What to do next about one pipeline, and what must be remembered before it is done."""
    decision = _decide(view)
    memory = _remember_places(view, decision)
    return replace(decision, memory=memory)


def _decide(view: View) -> Decision:
    memory = _remember_wanted(view)
    target = aim(view)
    if target.mode == "none":
        return _let_go(view, target, memory)
    if target.to_lint is not None and view.memory.wanted is not Wanted.PUBLISHED:
        # Resumed with another version: the old one must not start while the new one is checked, nor
        # if that takes several attempts; so it is not remembered as published before.
        return Decision(target, view.memory, (Lint(target.to_lint),))
    if target.spec is not None and target.mode == "run":
        if workloads.runs_as_workload(view, target.spec):
            return _keep_applied(view, target, target.spec, memory)
        return _keep_running(view, target, target.spec, memory)
    steps = steps_towards(view, target, memory) + _lint_too(target)
    return Decision(target, memory, steps, _when_waiting(view))


def _keep_applied(view: View, target: Target, spec: Spec, memory: Memory) -> Decision:
    """As `_keep_running`, where the platform does the replicas: it says how they are."""
    memory = _with_traits(view, _accept(view, target, spec, memory))
    there = workloads.mine(view, spec)
    if there is None and spec.spec_hash not in view.lints:
        return Decision(target, memory, (Lint(spec),))
    if there is None and (held := _refused_by_lint(view, spec)):
        if update.no_way_back(view, spec, memory):
            return _hold(view, memory, held)
        return _decide(update.rolled_back(view, held.problem, memory))
    memory = workloads.account(view, spec, target.replicas, memory)
    ready = workloads.is_ready(there, spec, target.replicas)
    memory, settling = update.note_readiness(view, memory, ready=ready)
    late = None if view.silent else update.why_workload_is_late(view, spec, there, memory)
    if late is not None and not update.no_way_back(view, spec, memory):
        return _decide(update.rolled_back(view, late, memory))
    steps = steps_towards(view, target, memory) + _lint_too(target)
    waiting = None if ready or is_over(spec, memory) else WATCH_STARTING
    moments = (_when_waiting(view), waiting, settling)
    look_again = min((m for m in moments if m is not None), default=None)
    return Decision(target, memory, steps, look_again, late=late)


def _keep_running(view: View, target: Target, spec: Spec, memory: Memory) -> Decision:
    memory = _with_traits(view, _accept(view, target, spec, memory))
    mine = sort_out(view.own, target).mine
    memory = account(spec, target.replicas, mine, memory, view.now, known=not view.silent)
    ready = update.are_ready(target.replicas, mine)
    memory, settling = update.note_readiness(view, memory, ready=ready)
    if doubtful(spec, mine, memory, view.fault):
        if spec.spec_hash not in view.lints:
            return Decision(target, memory, (Lint(spec),))
        if held := _refused_by_lint(view, spec):
            if update.no_way_back(view, spec, memory):
                return _hold(view, memory, held)
            # It was begun by a controller that heard nothing against it: what it replaces may run.
            return _decide(update.rolled_back(view, held.problem, memory))
    late = None if view.silent else update.why_late(view, spec, mine, memory)
    if late is not None and not update.no_way_back(view, spec, memory):
        return _decide(update.rolled_back(view, late, memory))
    steps = steps_towards(view, target, memory) + _lint_too(target)
    moments = (_look_again(view, target, spec, memory), settling)
    return Decision(
        target, memory, steps, min((m for m in moments if m is not None), default=None), late=late
    )


def _lint_too(target: Target) -> tuple[Lint, ...]:
    """Last: a lint that can't be had must not keep what was accepted from running."""
    return (Lint(target.to_lint),) if target.to_lint is not None else ()


def _remember_wanted(view: View) -> Memory:
    entry, memory = view.entry, view.memory
    if entry is None or entry.wanted is None:
        return memory
    if memory.held is not None and _asks_for_another(view, memory.held):
        memory = structs.replace(memory, held=None)
    if memory.wanted is Wanted.PAUSED and entry.wanted is Wanted.PUBLISHED:
        memory = tried_afresh(memory)  # who resumes it wants to see it run, not its old backoff
    if memory.wanted is entry.wanted:
        return memory
    return structs.replace(memory, wanted=entry.wanted)


def _asks_for_another(view: View, held: Held) -> bool:
    """Whether the entry names another spec than the one that is held, as far as can be said."""
    wanted = view.entry.pipeline if view.entry else None
    digest = view.config.digest
    return wanted is not None and digest is not None and wanted.spec_hash(digest) != held.spec_hash


def _remember_places(view: View, decision: Decision) -> Memory:
    """Where something of it may be once `decision` is carried out, whatever answers by then.

    A place stays until it answers without an execution. Before a start every place that the executor
    may choose is noted: a crash right after must not let another machine start a second one.
    """
    there = {Place(executor=e.executor, place=e.place) for e in view.found}
    chosen = {s.spec.executor for s in decision.steps if isinstance(s, Prepare | Start)}
    chosen |= {s.workload.spec.executor for s in decision.steps if isinstance(s, Apply)}
    may_be = {p for p in view.answered if p.executor in chosen}
    unheard = {
        p for p in view.memory.places if p not in view.answered and p.place not in view.abandoned
    }
    places = sorted(there | may_be | unheard, key=lambda p: (p.executor, p.place))
    if places == decision.memory.places:
        return decision.memory
    return structs.replace(decision.memory, places=places)


def _let_go(view: View, target: Target, memory: Memory) -> Decision:
    """Remove everything; forget it once every place has confirmed that nothing is left."""
    steps = steps_towards(view, target, memory)
    gone = view.is_empty and not view.silent
    if gone and not target.refused:
        memory = Memory(wanted=memory.wanted)
    deleted = view.entry is not None and view.entry.deleted
    return Decision(target, memory, steps, _when_waiting(view), forget=gone and deleted)


def _when_waiting(view: View) -> float | None:
    """Seconds until it is looked at again while a place is silent, or something was asked to end."""
    if view.silent:
        return WATCH_SILENT
    ends = any(e.state == "stopping" for e in view.executions)
    return WATCH_ENDING if ends or any(w.state == "deleting" for w in view.workloads) else None


def _accept(view: View, target: Target, spec: Spec, memory: Memory) -> Memory:
    """Make the target's spec the current one; what was good before it stays known."""
    current = memory.current
    if current is not None and current.spec_hash == spec.spec_hash:
        wanted = view.entry.pipeline if view.entry else None
        if wanted is None or target.refused or target.to_lint or wanted == current.definition:
            return memory
        current = structs.replace(current, definition=wanted)
        return structs.replace(memory, current=current, last_good=memory.good)
    accepted = Accepted(
        revision=spec.revision,
        spec_hash=spec.spec_hash,
        digest=spec.digest,
        definition=spec.definition,
    )
    return update.begun(view, accepted, memory)


def _with_traits(view: View, memory: Memory) -> Memory:
    """What its bytes contain is kept: after a restart nobody reads those of what runs already."""
    current, before = memory.current, view.memory.current
    same = before is not None and current is not None and before.digest == current.digest
    if current is None or current.traits is not None or view.traits is None or not same:
        return memory
    known = structs.replace(current, traits=view.traits)
    return structs.replace(memory, current=known)


def _refused_by_lint(view: View, spec: Spec) -> Held | None:
    problems = [p for p in view.lints[spec.spec_hash] if p.reason is not Reason.NOT_LINTED]
    return Held(spec_hash=spec.spec_hash, problem=problems[0]) if problems else None


def _hold(view: View, memory: Memory, held: Held) -> Decision:
    """The spec was tried and the engine refuses its bytes: leave nothing of it, do not try again."""
    memory = Memory(wanted=memory.wanted, held=held)
    target = Target("none", refused=held.problem)
    return Decision(target, memory, steps_towards(view, target, memory))


def _look_again(view: View, target: Target, spec: Spec, memory: Memory) -> float | None:
    """The nearest moment at which this pipeline may need something without a hint."""
    if (waiting := _when_waiting(view)) is not None:
        return waiting
    if is_over(spec, memory):
        return None
    mine = {e.replica: e for e in sort_out(view.own, target).mine}
    late = update.until_late(view, spec, list(mine.values()), memory)
    moments: list[float] = [] if late is None else [late]
    for replica in range(target.replicas):
        execution, slot = mine.get(replica), memory.slots.get(replica)
        if execution is not None and execution.state == "running":
            if not execution.ready:
                moments.append(WATCH_STARTING)
        elif slot is not None and (left := waits(slot, view.now)):
            moments.append(left)
    return min(moments, default=None)
