"""What was found otherwise than it was left is counted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nexthos_controller.execution import Execution
from nexthos_controller.reconcile import decide, report
from nexthos_shared.model import PipelineStatus
from nexthos_testing.world import NOW, World, entry, running


def settle(world: World, before: PipelineStatus | None) -> PipelineStatus:
    """As the controller does: a report before each round of steps, and one after."""
    for _ in range(10):
        decision = decide(world.view)
        before = report(world.view, decision, before)
        world.view = replace(world.view, memory=decision.memory)
        if not decision.steps:
            return before
        for step in decision.steps:
            world._take(step)
    raise AssertionError("never settles")


def copy_of(execution: Execution) -> Execution:
    return replace(execution, uid="by-hand", started_at=NOW + 50, state="running", exit=None)


@pytest.mark.fault(81)
def test_what_vanished_while_it_ran_is_drift_and_an_end() -> None:
    world = running()
    status = settle(world, None)
    world.view = replace(world.view, executions=())
    status = settle(world, status)
    assert (status.drifts, status.restarts) == (1, 1)
    world.view = replace(world.view, now=NOW + 100)
    status = settle(world, status)
    assert (status.drifts, status.restarts) == (1, 1)


def test_a_twin_is_drift_once() -> None:
    world = running()
    status = settle(world, None)
    twin = copy_of(world.view.executions[0])
    decision = decide(replace(world.view, executions=(*world.view.executions, twin)))
    world.view = replace(world.view, executions=(*world.view.executions, twin))
    first = report(world.view, decision, status)
    second = report(world.view, decision, first)
    assert (first.drifts, second.drifts) == (1, 1)


def test_what_runs_although_it_was_paused_is_drift() -> None:
    world = running()
    status = settle(world, None)
    world.view = replace(world.view, entry=entry("paused", 2))
    status = settle(world, status)
    assert status.drifts == 0
    world.view = replace(world.view, executions=(copy_of(world.view.executions[0]),))
    status = settle(world, status)
    assert status.drifts == 1
    assert [e.state for e in world.view.executions] == ["stopped"]


def test_updates_pauses_and_ends_are_no_drift() -> None:
    world = running()
    status = settle(world, None)
    for number, wanted in enumerate(("paused", "published", "draft", "published"), start=2):
        world.view = replace(world.view, entry=entry(wanted, number, env={"A": str(number)}))
        status = settle(world, status)
    live = next(i for i, e in enumerate(world.view.executions) if e.state == "running")
    world.ends(7, index=live)
    assert settle(world, status).drifts == 0


@pytest.mark.fault(31)
def test_what_somebody_made_otherwise_under_our_name_is_replaced_and_counted() -> None:
    world = running()
    status = settle(world, None)
    ours = world.view.executions[0]
    theirs = replace(copy_of(ours), altered="its image is not that it was made with", ready=True)
    world.view = replace(world.view, executions=(theirs,))
    status = settle(world, status)
    assert status.drifts >= 1
    world.view = replace(world.view, now=NOW + 100)
    status = settle(world, status)
    live = [e for e in world.view.executions if e.state == "running"]
    assert [(e.spec_hash, e.altered) for e in live] == [(ours.spec_hash, "")]
    assert theirs.uid not in {e.uid for e in world.view.executions if e.state == "running"}
    drifts = status.drifts
    assert settle(world, status).drifts == drifts
