"""Workloads: what a platform runs by itself is applied and deleted, and its word is taken for the rest.

No replica is counted, started again or replaced here: a workload's state says how it goes.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import structs

from nexthos_controller.execution import Spec, Workload, WorkloadState
from nexthos_controller.reconcile.view import Apply, Delete, Step, Target, View
from nexthos_shared.model import Memory, Slot
from nexthos_shared.reasons import Problem, Reason


def runs_as_workload(view: View, spec: Spec | None) -> bool:
    """Whether the spec's executor leaves replicas to its platform."""
    return spec is not None and spec.executor in view.platforms


def mine(view: View, spec: Spec) -> WorkloadState | None:
    """The workload that runs `spec`, or is to be changed to run it."""
    for workload in view.workloads:
        if _fits(workload, spec) and workload.state != "deleting":
            return workload
    return None


def _fits(workload: WorkloadState, spec: Spec) -> bool:
    """Whether applying `spec` changes this one: of that executor and kind; a job can't be changed."""
    same = (workload.executor, workload.kind) == (spec.executor, spec.definition.lifecycle)
    return same and (workload.kind == "service" or workload.spec_hash == spec.spec_hash)


def cleared(view: View, spec: Spec | None) -> tuple[Step, ...]:
    """Deletions of all that does not run `spec`; twins too, but the oldest."""
    stays = mine(view, spec) if spec is not None and runs_as_workload(view, spec) else None
    return tuple(Delete(w) for w in view.workloads if w is not stays and w.state != "deleting")


def is_in_the_way(view: View, spec: Spec) -> bool:
    """Whether anything that a platform runs has to be gone before `spec` may be started.

    Replicas too that outlive their workload for a moment: they drain.
    """
    stays = mine(view, spec) if runs_as_workload(view, spec) else None
    if any(w is not stays for w in view.workloads):
        return True
    of_platforms = (e for e in view.executions if e.executor in view.platforms)
    return any(stays is None or e.executor != spec.executor for e in of_platforms)


def applied(view: View, target: Target, spec: Spec, memory: Memory) -> Iterable[Step]:
    """The step towards the target, where nothing else is in the way."""
    there = mine(view, spec)
    if there is None and spec.spec_hash in (memory.completed, memory.failed):
        return  # a job that is over is not begun again
    if there is None or _differs(there, target, spec):
        yield Apply(Workload(spec, target.replicas, target.update))


def _differs(there: WorkloadState, target: Target, spec: Spec) -> bool:
    if there.state in ("complete", "failed"):
        return False
    known = (there.spec_hash, there.replicas)
    return known != (spec.spec_hash, target.replicas) or bool(there.altered)


def paused(view: View, target: Target, spec: Spec | None) -> Iterable[Step]:
    """Steps that leave nothing running: 0 replicas of what is known, and what is not known goes."""
    for workload in view.workloads:
        if workload.state in ("deleting", "complete", "failed"):
            continue
        if spec is None or not _fits(workload, spec):
            yield Delete(workload)
        elif workload.replicas or workload.altered:
            yield Apply(Workload(spec, 0, target.update))


def account(view: View, spec: Spec, replicas: int, memory: Memory) -> Memory:
    """Memory after taking note of what the platform says of `spec`; drift is noted as an end.

    Its first slot stands for the whole workload.
    """
    there, slot = mine(view, spec), memory.slots.get(0, Slot())
    changed = there is None or there.spec_hash != spec.spec_hash or bool(there.altered)
    if changed:
        if not slot.uid or slot.ended or view.silent:
            return memory
        words = f"{slot.place} no longer has it as it was applied"
        why = there.altered if there is not None and there.altered else words
        return _with(
            memory, structs.replace(slot, ended=True, problem=Problem(Reason.VANISHED, why))
        )
    assert there is not None
    if slot.uid != there.uid or slot.ended:
        slot = Slot(
            uid=there.uid,
            executor=there.executor,
            place=there.place,
            running_since=slot.running_since if slot.uid == there.uid else view.now,
            was_ready=slot.was_ready and slot.uid == there.uid,
        )
    ready = is_ready(there, spec, replicas)
    slot = structs.replace(slot, restarts=there.restarts, was_ready=slot.was_ready or ready)
    if there.state == "complete":
        memory = structs.replace(memory, completed=spec.spec_hash)
    if there.state == "failed":
        slot = structs.replace(slot, problem=there.problem)
        memory = structs.replace(memory, failed=spec.spec_hash)
    return _with(memory, slot)


def _with(memory: Memory, slot: Slot) -> Memory:
    if memory.slots == {0: slot}:
        return memory
    return structs.replace(memory, slots={0: slot})


def is_ready(workload: WorkloadState | None, spec: Spec, replicas: int) -> bool:
    """Whether all replicas of `spec` are ready together."""
    if workload is None or workload.spec_hash != spec.spec_hash or workload.state != "available":
        return False
    return min(workload.ready, workload.updated) >= replicas


def why_late(workload: WorkloadState | None, waited: float, timeout: float) -> Problem | None:
    """Why it counts as not getting ready: the platform gave up, or it took longer than `timeout`."""
    if workload is None:
        return None
    words = f"not ready within {timeout:g}s"
    cause = workload.problem or Problem(Reason.READY_TIMEOUT, "")
    if workload.state == "stalled":
        return cause if cause.message else Problem(cause.reason, words)
    if waited < timeout:
        return None
    return Problem(cause.reason, f"{words}: {cause.message}" if cause.message else words)
