"""Deciding about workloads: what a platform runs is applied and deleted, and its word is taken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nexthos_controller.execution import Execution
from nexthos_controller.reconcile import Apply, ConfigFacts, Delete, decide, report
from nexthos_shared.model import ConditionType, Phase, Place
from nexthos_shared.reasons import Problem, Reason
from nexthos_testing.world import D1, D2, NOW, World, condition, entry

CLUSTER = Place(executor="kubernetes", place="cluster")


def on_platform(**fields: Any) -> dict[str, Any]:
    return {
        "entry": entry(executor="kubernetes", **fields),
        "checks": {"process": (), "kubernetes": ()},
        "platforms": frozenset({"kubernetes"}),
        "answered": frozenset({CLUSTER, Place(executor="process", place="here")}),
    }


def applied(**fields: Any) -> World:
    """One that was applied and became ready."""
    world = World(**on_platform(**fields))
    assert world.settle().phase is Phase.STARTING
    replicas = fields.get("replicas", 1)
    status = world.workload(state="available", ready=replicas, updated=replicas)
    assert status.phase is Phase.RUNNING
    world.done.clear()
    return world


def test_it_is_linted_and_applied_and_its_platform_says_when_it_is_ready() -> None:
    world = World(**on_platform(replicas=3))
    assert world.settle().phase is Phase.STARTING
    assert world.kinds == ["Lint", "Apply"]
    status = world.workload(ready=2, updated=3)
    assert (status.phase, status.ready, status.replicas) == (Phase.STARTING, 2, 3)
    status = world.workload(state="available", ready=3, updated=3)
    assert (status.phase, status.ready) == (Phase.RUNNING, 3)
    assert condition(status, ConditionType.READY) == ("True", Reason.READY)
    assert world.kinds == []


def test_what_lint_refuses_is_never_applied() -> None:
    world = World(**on_platform())
    world.lint_says[D1] = (Problem(Reason.LINT_FAILED, "no such input"),)
    assert world.settle().phase is Phase.INVALID
    assert world.kinds == ["Lint"]


def test_its_place_is_remembered_before_it_is_applied() -> None:
    world = World(**on_platform())
    while not any(isinstance(step, Apply) for step in world.decision.steps):
        for step in world.decision.steps:
            world._take(step)
        world.decision = decide(world.view)
    assert CLUSTER in world.decision.memory.places


@pytest.mark.parametrize(
    "change", [{"replicas": 2}, {"version": "2"}, {"env": {"A": "1"}}], ids=str
)
def test_any_difference_is_applied_in_place(change: dict[str, Any]) -> None:
    world = applied()
    [before] = world.view.workloads
    config = ConfigFacts(D2 if "version" in change else D1)
    world.settle(entry=entry(revision=2, executor="kubernetes", **change), config=config)
    assert [k for k in world.kinds if k != "Lint"] == ["Apply"]
    [after] = world.view.workloads
    assert after.uid == before.uid


def test_paused_keeps_it_without_replicas_and_resumed_it_gets_them_again() -> None:
    world = applied()
    status = world.settle(entry=entry("paused", revision=2, executor="kubernetes"))
    assert status.phase is Phase.PAUSED
    assert [w.replicas for w in world.view.workloads] == [0]
    world.settle(entry=entry("published", revision=3, executor="kubernetes"))
    assert [w.replicas for w in world.view.workloads] == [1]


def test_paused_by_a_controller_that_lost_its_memory_it_is_known_by_its_spec() -> None:
    world = applied()
    memory = World().view.memory
    status = world.settle(entry=entry("paused", revision=2, executor="kubernetes"), memory=memory)
    assert status.phase is Phase.PAUSED
    assert [w.replicas for w in world.view.workloads] == [0]


@pytest.mark.parametrize("slowly", [False, True])
def test_a_draft_is_stopping_until_its_place_answers_without_it(slowly: bool) -> None:
    world = applied()
    world.deletes_slowly = slowly
    status = world.settle(entry=entry("draft", revision=2))
    assert world.kinds == ["Delete"]
    assert status.phase is (Phase.STOPPING if slowly else Phase.DRAFT)
    if slowly:
        assert world.decision.look_again is not None
        assert world.settle(workloads=()).phase is Phase.DRAFT


def test_while_its_place_is_silent_nothing_is_applied_and_nothing_forgotten() -> None:
    world = applied()
    gone = Problem(Reason.EXECUTOR_UNREACHABLE, "cluster does not answer")
    status = world.settle(workloads=(), silent=(gone,), answered=frozenset())
    assert (status.phase, world.kinds) == (Phase.UNKNOWN, [])
    assert CLUSTER in world.view.memory.places


# ---- from one kind to the other


def test_replicas_of_ours_are_cleared_before_a_workload_is_applied() -> None:
    world = World(**on_platform() | {"entry": entry(executor="process")})
    world.settle()
    world.done.clear()
    world.settle(entry=entry(revision=2, executor="kubernetes"))
    assert world.kinds == ["Lint", "Stop", "Remove", "Apply"]
    assert not world.view.executions


def test_a_workload_is_gone_before_a_replica_of_ours_is_started() -> None:
    world = applied()
    world.deletes_slowly = True
    world.settle(entry=entry(revision=2, executor="process"))
    assert world.kinds == ["Lint", "Delete"]
    world.settle(workloads=())
    assert world.kinds == ["Start"]


def test_pods_that_outlive_their_workload_keep_others_from_starting() -> None:
    world = applied()
    pod = Execution(
        name="pod",
        id="orders",
        replica=0,
        uid="p1",
        executor="kubernetes",
        place="cluster",
        spec_hash=world.view.workloads[0].spec_hash,
        revision=1,
        digest=D1,
        state="stopping",
    )
    world.settle(entry=entry(revision=2, executor="process"), workloads=(), executions=(pod,))
    assert world.kinds == ["Lint"]
    world.settle(executions=())
    assert world.kinds == ["Start"]


def test_a_service_that_becomes_a_job_is_deleted_first() -> None:
    world = applied()
    world.deletes_slowly = True
    world.settle(entry=entry(revision=2, executor="kubernetes", lifecycle="job"))
    assert world.kinds == ["Lint", "Delete"]
    world.settle(workloads=())
    assert world.kinds == ["Apply"]
    assert [w.kind for w in world.view.workloads] == ["job"]


def test_a_job_with_another_version_is_another_workload() -> None:
    world = World(**on_platform(lifecycle="job"))
    world.settle()
    world.done.clear()
    world.settle(
        entry=entry(revision=2, executor="kubernetes", lifecycle="job", version="2"),
        config=ConfigFacts(D2),
    )
    assert world.kinds == ["Lint", "Delete", "Apply"]


def test_what_was_asked_to_end_blocks_a_start_until_it_is_gone() -> None:
    world = World()
    world.settle()
    world.change(state="stopping")
    world.done.clear()
    world.settle(entry=entry(revision=2, version="2"), config=ConfigFacts(D2))
    assert world.kinds == ["Lint"]
    assert world.decision.look_again is not None
    world.change(state="stopped")
    world.settle()
    assert "Start" in world.kinds


# ---- how it goes


def test_a_job_completes_and_fails_by_what_its_platform_says() -> None:
    for state, phase in (("complete", Phase.COMPLETED), ("failed", Phase.FAILED)):
        world = World(**on_platform(lifecycle="job"))
        world.settle()
        world.done.clear()
        problem = Problem(Reason.EXITED, "exit code 1") if state == "failed" else None
        assert world.workload(state=state, problem=problem).phase is phase
        assert world.settle(workloads=()).phase is phase
        assert world.kinds == []


def test_restarts_are_the_platforms_and_no_replica_is_counted_or_started_here() -> None:
    world = applied()
    status = world.workload(state="progressing", ready=0, restarts=2)
    assert (status.restarts, status.ready, status.phase) == (2, 0, Phase.RUNNING)
    assert world.kinds == []
    crash = Problem(Reason.CRASH_LOOP, "back-off restarting")
    status = world.workload(state="progressing", restarts=5, problem=crash)
    assert status.phase is Phase.CRASH_LOOP
    assert condition(status, ConditionType.READY) == ("False", Reason.CRASH_LOOP)


@pytest.mark.parametrize("how", ["stalls", "is late"])
def test_an_update_that_does_not_get_ready_gives_way_to_what_was_good(how: str) -> None:
    world = applied()
    world.settle(now=NOW + 20)  # long enough to be good
    good = world.view.memory.good
    assert good is not None
    world.settle(
        entry=entry(revision=2, executor="kubernetes", version="2"),
        config=ConfigFacts(D2),
        good_stored=True,
    )
    world.done.clear()
    if how == "stalls":
        problem = Problem(Reason.IMAGE_MISSING, "no such image")
        status = world.workload(state="stalled", problem=problem)
    else:
        status = world.settle(now=world.view.now + 31)
    assert condition(status, ConditionType.PROGRESSING) == ("False", Reason.ROLLED_BACK)
    assert [w.spec_hash for w in world.view.workloads] == [good.spec_hash]


def test_what_somebody_else_changed_or_deleted_is_put_right_and_counted_once() -> None:
    for meddled in (True, False):
        world = applied()
        before = world.settle()
        [workload] = world.view.workloads
        changed = replace(workload, altered="replicas were set to 3", replicas=3)
        world.view = replace(world.view, workloads=(changed,) if meddled else ())
        first = decide(world.view)
        assert [type(s) for s in first.steps] == [Apply]
        told = report(replace(world.view, memory=first.memory), first, before)
        assert told.drifts == 1
        world.settle()
        assert [w.replicas for w in world.view.workloads] == [1]
        after = decide(world.view)
        assert report(world.view, after, told).drifts == 1


def test_of_twins_one_stays() -> None:
    world = applied()
    [one] = world.view.workloads
    twin = replace(one, executor="kubernetes", uid="w9", kind="job")
    first = decide(replace(world.view, workloads=(one, twin)))
    assert first.steps == (Delete(twin),)


def test_a_key_that_is_gone_without_a_marker_leaves_it_running() -> None:
    world = applied()
    status = world.settle(entry=None)
    assert condition(status, ConditionType.ORPHANED) == ("True", Reason.ORPHANED)
    assert world.kinds == []
