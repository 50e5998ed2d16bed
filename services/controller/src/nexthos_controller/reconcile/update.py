"""How an update goes: which definition was good last, and when a new one has to give way to it.

Good is what had all its replicas ready together for `ready_debounce` seconds. A new definition that
was never ready, and crashed or took longer than its `update.ready_timeout`, gives way to the whole last
good one, if that one was ready when the update began and its bytes can still be had. Otherwise the
update is not to blame, or there is nothing to go back to: it stays, and says why it is not ready.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from msgspec import structs

from nexthos_controller.execution import Execution, Spec, WorkloadState
from nexthos_controller.reconcile import workloads
from nexthos_controller.reconcile.view import View
from nexthos_shared.model import Accepted, Held, Memory, Readiness, Slot, format_duration
from nexthos_shared.model.status import CURRENT
from nexthos_shared.names import ENV_NATS_URL
from nexthos_shared.reasons import Problem, Reason


def are_ready(replicas: int, mine: Sequence[Execution]) -> bool:
    """Whether all replicas run and are ready together."""
    return len(mine) == replicas and all(e.state == "running" and e.ready for e in mine)


def note_readiness(view: View, memory: Memory, *, ready: bool) -> tuple[Memory, float | None]:
    """Memory with what is ready now, and the seconds until that is old enough to count."""
    current = memory.current
    ready = ready and not broker_away(view, current)
    readiness = memory.readiness
    if readiness is None or readiness.ready != ready:
        readiness = Readiness(ready=ready, since=view.now)
    if current is not None and ready and not current.was_ready:
        current = structs.replace(current, was_ready=True)
    if memory.readiness is not readiness or memory.current is not current:
        memory = structs.replace(memory, readiness=readiness, current=current)
    left = readiness.since + view.ready_debounce - view.now
    waiting = left if left > 0 else None
    if not ready:
        return memory, waiting
    if current is None or _is_good(current, memory):
        return memory, None
    if waiting is None:
        memory = structs.replace(memory, last_good=CURRENT)
    return memory, waiting


def broker_away(view: View, accepted: Accepted | None) -> Problem | None:
    """The NATS that `accepted` talks to, if it answered before and does not now.

    The engine's NATS components count as connected while they reconnect, however long that takes.
    """
    if accepted is None or accepted.traits is None or not accepted.traits.uses_nats:
        return None
    definition = accepted.definition
    url = definition.env.get(ENV_NATS_URL) or view.connections.get(definition.connection, "")
    if url not in view.away:
        return None
    # A URL in `env` may hold what nobody should read: the name of the connection has to do.
    words = "in env.NATS_URL" if ENV_NATS_URL in definition.env else f"{definition.connection!r}"
    return Problem(Reason.NOT_CONNECTED, f"the NATS of connection {words} does not answer")


def _is_good(current: Accepted, memory: Memory) -> bool:
    good = memory.good
    same = good is not None and good.spec_hash == current.spec_hash
    return same and good is not None and good.definition == current.definition


def begun(view: View, accepted: Accepted, memory: Memory) -> Memory:
    """Memory after `accepted` takes the place of what was current."""
    before = memory.current
    fallback = False
    if before is not None and memory.good is not None:
        was_good = before.spec_hash == memory.good.spec_hash
        fallback = _all_ready(view, before) if was_good else before.fallback
    return Memory(
        wanted=memory.wanted,
        current=structs.replace(accepted, fallback=fallback),
        last_good=memory.good,
    )


def _all_ready(view: View, accepted: Accepted) -> bool:
    if broker_away(view, accepted):
        return False
    if any(w.spec_hash == accepted.spec_hash for w in view.workloads):
        known = [w for w in view.workloads if w.spec_hash == accepted.spec_hash]
        return any(
            w.state == "available" and w.ready >= accepted.definition.replicas for w in known
        )
    ready = {
        e.replica
        for e in view.executions
        if e.spec_hash == accepted.spec_hash and e.state == "running" and e.ready
    }
    return len(ready) >= accepted.definition.replicas


def why_late(view: View, spec: Spec, mine: Sequence[Execution], memory: Memory) -> Problem | None:
    """What kept the current definition from ever being ready in its time; None while it may be.

    Its time begins anew when the store is back: what it talks to was away then too, as likely as not.
    """
    current = memory.current
    if current is None or current.was_ready or spec.definition.lifecycle != "service":
        return None
    for slot in memory.slots.values():
        if slot.ended and slot.problem is not None and not slot.was_ready:
            return slot.problem
    if _is_beyond_judging(current):
        return None
    timeout = spec.definition.update.ready_timeout
    for execution, slot in _waiting(mine, memory):
        if view.now - max(slot.running_since, view.connected_since) >= timeout:
            words = f"not ready within {format_duration(timeout)}"
            cause = execution.problem or Problem(Reason.READY_TIMEOUT, "")
            message = f"{words}: {cause.message}" if cause.message else words
            return Problem(cause.reason, message)
    return None


def why_workload_is_late(
    view: View, spec: Spec, workload: WorkloadState | None, memory: Memory
) -> Problem | None:
    """The same, of what a platform runs: it may have given up by itself."""
    current, slot = memory.current, memory.slots.get(0)
    if current is None or current.was_ready or spec.definition.lifecycle != "service":
        return None
    if slot is None or slot.ended or _is_beyond_judging(current):
        return None
    waited = view.now - max(slot.running_since, view.connected_since)
    return workloads.why_late(workload, waited, spec.definition.update.ready_timeout)


def _is_beyond_judging(current: Accepted) -> bool:
    """Whether the engine never calls it ready, even if it works."""
    known = current.traits.warnings if current.traits else ()
    return any(w.reason is Reason.READINESS_UNKNOWN for w in known)


def _waiting(mine: Sequence[Execution], memory: Memory) -> Iterator[tuple[Execution, Slot]]:
    """Executions that run and were never ready."""
    for execution in mine:
        slot = memory.slots.get(execution.replica)
        if execution.state == "running" and not execution.ready and slot and not slot.was_ready:
            yield execution, slot


def until_late(view: View, spec: Spec, mine: Sequence[Execution], memory: Memory) -> float | None:
    """Seconds until the first replica that is not ready has taken too long."""
    current = memory.current
    if current is None or current.was_ready:
        return None
    timeout = spec.definition.update.ready_timeout
    began = [max(slot.running_since, view.connected_since) for _, slot in _waiting(mine, memory)]
    left = [moment + timeout - view.now for moment in began]
    return min((seconds for seconds in left if seconds > 0), default=None)


def no_way_back(view: View, spec: Spec, memory: Memory) -> str:
    """Why the last good definition can't take over, in words; empty if it can."""
    current, good = memory.current, memory.good
    if not spec.definition.update.rollback:
        return "update.rollback is false"
    if current is None or good is None or good.spec_hash == current.spec_hash:
        return "no earlier version was ever good"
    if not current.fallback:
        return f"version {good.definition.version} was not ready either when the update began"
    if broker_away(view, good):
        return f"the NATS of version {good.definition.version} does not answer either"
    kept = any(e.spec_hash == good.spec_hash for e in view.found)
    if not (kept or view.good_stored):
        return f"the configuration of version {good.definition.version} is gone"
    return ""


def rolled_back(view: View, late: Problem, memory: Memory) -> View:
    """The view after the last good definition took over; the one that failed is held."""
    failed, good = memory.current, memory.good
    assert failed is not None
    assert good is not None
    words = (
        f"version {failed.definition.version} (revision {failed.revision}): {late.message}; "
        f"version {good.definition.version} (revision {good.revision}) runs again"
    )
    problem = Problem(Reason.ROLLED_BACK, words, file=late.file, line=late.line, column=late.column)
    held = Held(spec_hash=failed.spec_hash, problem=problem)
    good = structs.replace(good, fallback=False)
    memory = Memory(
        wanted=memory.wanted, current=good, last_good=CURRENT, held=held, places=memory.places
    )
    return replace(view, memory=memory)
