"""Table B of architecture.md: per execution, the next step that brings it towards the target."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nexthos_controller.execution import Execution, Spec
from nexthos_controller.reconcile import workloads
from nexthos_controller.reconcile.failure import waits
from nexthos_controller.reconcile.view import Prepare, Remove, Start, Step, Stop, Target, View
from nexthos_shared.model import Memory, Slot
from nexthos_shared.reasons import Reason


@dataclass(frozen=True, slots=True)
class Sorted:
    """The executions of one pipeline, as the target sees them."""

    mine: tuple[Execution, ...]  # the target's own, one per replica
    others: tuple[Execution, ...]  # older specs, other executors, replicas and twins too many


def sort_out(executions: Sequence[Execution], target: Target) -> Sorted:
    """Which executions the target asks for. Of twins, the oldest that runs stays."""
    mine: dict[int, Execution] = {}
    others: list[Execution] = []
    for execution in sorted(executions, key=_oldest_running_first):
        if _asked_for(execution, target) and execution.replica not in mine:
            mine[execution.replica] = execution
        else:
            others.append(execution)
    return Sorted(tuple(mine[r] for r in sorted(mine)), tuple(others))


def _oldest_running_first(execution: Execution) -> tuple[bool, float, str]:
    return execution.state != "running", execution.started_at or 0.0, execution.uid


def _asked_for(execution: Execution, target: Target) -> bool:
    return (
        target.mode == "run"
        and target.spec is not None
        and execution.spec_hash == target.spec.spec_hash
        and execution.executor == target.spec.executor
        and execution.replica < target.replicas
        and not execution.altered
    )


def steps_towards(view: View, target: Target, memory: Memory) -> tuple[Step, ...]:
    """The steps to take now. While a place is silent nothing is started: it might run there."""
    match target.mode:
        case "none":
            return (*_clear(view.own), *workloads.cleared(view, None))
        case "keep":
            stops = (_stop(e) for e in view.own if e.state == "running")
            return (*stops, *workloads.paused(view, target, target.spec))
        case "run" if target.spec is not None and not view.silent:
            return tuple(_towards(view, target, target.spec, memory))
        case _:
            return ()


def _towards(view: View, target: Target, spec: Spec, memory: Memory) -> Iterable[Step]:
    """One kind is cleared before the other begins: what drains is waited for, or two would run."""
    if workloads.runs_as_workload(view, spec):
        if view.own:
            yield from _clear(view.own)
        elif cleared := workloads.cleared(view, spec):
            yield from cleared
        elif not workloads.is_in_the_way(view, spec):
            yield from workloads.applied(view, target, spec, memory)
        return
    if cleared := workloads.cleared(view, None):
        yield from cleared
    elif not workloads.is_in_the_way(view, spec):
        run = Run(target, spec, memory, view.now)
        yield from _run(run, sort_out(view.own, target))


def _stop(execution: Execution) -> Stop:
    """It drains for as long as its own definition says, whatever the one that replaces it says."""
    return Stop(execution, execution.stop_timeout)


def _clear(executions: Iterable[Execution]) -> Iterable[Step]:
    for execution in executions:
        if execution.state == "stopping":
            continue  # it was asked to end, and its place has not answered without it
        if execution.state == "running":
            yield _stop(execution)
        yield Remove(execution)


@dataclass(frozen=True, slots=True)
class Run:
    """What the replicas of one target have in common."""

    target: Target
    spec: Spec
    memory: Memory
    now: float

    def may_start(self, mine: Execution | None, replica: int) -> bool:
        """Whether this replica should be started at this moment."""
        lives = mine is not None and mine.state in ("running", "stopping")
        if lives or is_over(self.spec, self.memory):
            return False
        return not waits(self.memory.slots.get(replica, Slot()), self.now)

    def has_settled(self, mine: Execution | None) -> bool:
        """Whether the replica has got where it should be, so that what it replaced can go."""
        return mine is not None and (mine.ready is True or is_over(self.spec, self.memory))


def _run(run: Run, found: Sorted) -> Iterable[Step]:
    by_replica = {e.replica: e for e in found.mine}
    for replica in range(run.target.replicas):
        mine = by_replica.get(replica)
        olds = [e for e in found.others if e.replica == replica]
        yield from _replace(run, replica, mine, olds)
        rolling = rolls(run.target, run.spec) and any(e.state == "running" for e in olds)
        if rolling and not run.has_settled(mine):
            break  # one replica at a time: the next one when this one is ready
    yield from _clear(e for e in found.others if e.replica >= run.target.replicas)


def _replace(
    run: Run, replica: int, mine: Execution | None, olds: list[Execution]
) -> Iterable[Step]:
    """Steps for one replica: start it, and let what it replaces go in the order of the strategy."""
    rolling = rolls(run.target, run.spec)
    if any(e.state == "stopping" and not (rolling and _is_here(e, run)) for e in olds):
        return  # it may run on: nothing is started beside it
    elsewhere = [e for e in olds if e.executor != run.spec.executor]
    live = [e for e in olds if e.executor == run.spec.executor and e.state == "running"]
    if run.may_start(mine, replica):
        if olds:
            yield Prepare(run.spec, replica)
        yield from _clear(elsewhere)  # never on two executors, whatever the strategy
        stays = min(live, key=_ready_first, default=None) if rolling else None
        yield from (_stop(e) for e in live if e is not stays)
        yield Start(run.spec, replica)
    elif mine is not None and mine.state == "running" and _port_taken(mine):
        yield _stop(mine)
    elif run.has_settled(mine):
        yield from _clear(olds)
    elif not rolling:
        yield from (_stop(e) for e in olds if e.state == "running")


def _is_here(execution: Execution, run: Run) -> bool:
    return execution.executor == run.spec.executor


def _ready_first(execution: Execution) -> tuple[bool, float]:
    """Of several old ones the one that works stays, however many updates came since."""
    return execution.ready is not True, execution.started_at or 0.0


def rolls(target: Target, spec: Spec) -> bool:
    """Whether old and new of one replica may run together for a while."""
    return target.update.strategy == "rolling" and spec.definition.lifecycle == "service"


def is_over(spec: Spec, memory: Memory) -> bool:
    """A job that has finished, or has used up its retries, is not revived."""
    return spec.spec_hash in (memory.completed, memory.failed)


def _port_taken(execution: Execution) -> bool:
    return execution.problem is not None and execution.problem.reason is Reason.PORT_IN_USE
