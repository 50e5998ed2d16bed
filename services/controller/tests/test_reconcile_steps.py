"""Table B of docs/architecture.md as sentences: the next step per execution."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nexthos_controller.reconcile import (
    ConfigFacts,
    Stop,
    decide,
)
from nexthos_shared.model import ConditionType, Phase, read_entry
from nexthos_shared.reasons import Problem, Reason
from nexthos_testing.world import D2, NOW, condition, entry, running


def test_an_update_is_linted_before_anything_is_stopped_and_the_old_one_goes_last() -> None:
    world = running()
    status = world.settle(entry=entry(revision=2, version="2"), config=ConfigFacts(D2))
    assert world.kinds == ["Lint", "Prepare", "Stop", "Start"]
    assert condition(status, ConditionType.PROGRESSING) == ("True", Reason.UPDATING)
    assert world.ready().version == "2"
    assert world.kinds == ["Remove"]
    assert len(world.view.executions) == 1


def test_an_update_that_fails_lint_leaves_the_old_version_running() -> None:
    world = running()
    bad = Problem(Reason.LINT_FAILED, "field inptu not recognised", None, "orders/2", 3, 1)
    world.lint_says[D2] = (bad,)
    status = world.settle(entry=entry(revision=2, version="2"), config=ConfigFacts(D2))
    assert world.kinds == ["Lint"]
    assert (status.phase, status.version) == (Phase.RUNNING, "1")
    found = status.condition(ConditionType.VALID)
    assert found is not None
    assert (found.reason, found.file, found.line, found.column) == (
        Reason.LINT_FAILED,
        "orders/2",
        3,
        1,
    )


def test_where_lint_can_not_run_the_update_goes_on_and_says_so() -> None:
    world = running()
    world.lint_says[D2] = (Problem(Reason.NOT_LINTED, "no engine here"),)
    status = world.settle(entry=entry(revision=2, version="2"), config=ConfigFacts(D2))
    assert "Start" in world.kinds
    assert condition(status, ConditionType.VALID) == ("Unknown", Reason.NOT_LINTED)


def test_a_rolling_update_starts_the_new_one_first() -> None:
    world = running(entry=entry(update={"strategy": "rolling"}))
    new = entry(revision=2, version="2", update={"strategy": "rolling"})
    world.settle(entry=new, config=ConfigFacts(D2))
    assert world.kinds == ["Lint", "Prepare", "Start"]
    world.ready()
    assert world.kinds == ["Stop", "Remove"]


def test_a_rolling_update_takes_one_replica_after_the_other() -> None:
    rolling: dict[str, Any] = {"update": {"strategy": "rolling"}, "replicas": 2}
    world = running(entry=entry(**rolling))
    world.settle(entry=entry(revision=2, version="2", **rolling), config=ConfigFacts(D2))
    news = [e.replica for e in world.view.executions if e.digest == D2]
    assert news == [0]
    world.ready()
    assert sorted(e.replica for e in world.view.executions if e.digest == D2) == [0, 1]


@pytest.mark.fault(56)
def test_another_executor_means_old_one_gone_before_the_new_one_starts() -> None:
    world = running()
    world.settle(entry=entry(revision=2, executor="docker"))
    assert world.kinds == ["Lint", "Prepare", "Stop", "Remove", "Start"]


def test_a_pause_in_the_middle_of_an_update_acts_at_once() -> None:
    world = running()
    world.settle(entry=entry(revision=2, version="2"), config=ConfigFacts(D2))
    world.done.clear()
    assert world.settle(entry=entry("paused", 3, version="2")).phase is Phase.PAUSED
    assert world.kinds == ["Stop"]


def test_resumed_with_another_version_the_old_one_does_not_start_meanwhile() -> None:
    world = running()
    world.settle(entry=entry("paused", 2))
    world.done.clear()
    world.settle(entry=entry("published", 3, version="2"), config=ConfigFacts(D2))
    assert world.kinds == ["Lint", "Prepare", "Start"]
    assert [e.digest for e in world.view.executions if e.state == "running"] == [D2]


def test_what_was_accepted_is_restarted_even_if_the_new_version_can_not_be_linted() -> None:
    world = running()
    world.ends(7)
    world.settle()
    world.view = replace(
        world.view,
        now=NOW + 5,
        entry=entry(revision=2, version="2"),
        config=ConfigFacts(D2),
        lints={},
    )
    assert [type(s).__name__ for s in decide(world.view).steps] == ["Start", "Lint"]


@pytest.mark.fault(53)
def test_a_superseded_update_gives_way() -> None:
    world = running()
    world.settle(entry=entry(revision=2, version="2"), config=ConfigFacts(D2))
    world.settle(entry=entry(revision=3, version="3"), config=ConfigFacts("sha256:" + "3" * 64))
    assert [e.digest[7] for e in world.view.executions if e.state == "running"] == ["3"]
    world.ready()
    assert [e.digest[7] for e in world.view.executions] == ["3"]


def test_name_and_labels_never_reach_an_execution() -> None:
    world = running()
    status = world.settle(entry=entry(revision=2, name="Orders", labels={"team": "a"}))
    assert (world.kinds, status.observed_revision) == ([], 2)


def test_a_raised_nonce_restarts() -> None:
    world = running()
    world.settle(entry=entry(revision=2, restart_nonce=1))
    assert "Start" in world.kinds


def test_of_twins_the_oldest_running_one_stays() -> None:
    world = running()
    twin = replace(world.view.executions[0], uid="u9", started_at=NOW + 50, name="twin")
    world.settle(executions=(twin, *world.view.executions))
    assert world.kinds == ["Stop", "Remove"]
    assert [e.uid for e in world.view.executions] == ["u1"]


@pytest.mark.fault(26)
def test_a_silent_place_is_unknown_and_nothing_is_started_or_removed() -> None:
    world = running()
    silent = (Problem(Reason.PLACE_LOST, "replica 0 lived on process/there"),)
    status = world.settle(executions=(), silent=silent)
    assert (world.kinds, status.phase) == ([], Phase.UNKNOWN)
    assert condition(status, ConditionType.REACHABLE) == ("False", Reason.PLACE_LOST)
    assert world.decision.look_again is not None
    assert world.settle(entry=entry("paused", 2)).phase is Phase.UNKNOWN


@pytest.mark.fault(55)
def test_deleted_while_its_place_is_silent_it_is_stopping_until_confirmed() -> None:
    world = running()
    silent = (Problem(Reason.EXECUTOR_UNREACHABLE, "no answer"),)
    marker = read_entry("orders", 2, None)
    status = world.settle(entry=marker, executions=(), silent=silent)
    assert (status.phase, world.decision.forget) == (Phase.STOPPING, False)
    world.settle(silent=())
    assert world.decision.forget


@pytest.mark.fault(57)
def test_a_port_taken_by_another_program_costs_a_new_start() -> None:
    world = running()
    world.change(ready=False, problem=Problem(Reason.PORT_IN_USE, "port 4195"))
    world.decision = decide(world.view)
    assert [type(s).__name__ for s in world.decision.steps] == ["Stop"]


@pytest.mark.parametrize("strategy", ["recreate", "rolling"])
def test_an_old_one_drains_for_as_long_as_its_own_definition_says(strategy: str) -> None:
    old: dict[str, Any] = {"stop_timeout": "60s", "update": {"strategy": strategy}}
    world = running(entry=entry(**old))
    world.settle(entry=entry("published", 2, **{**old, "stop_timeout": "1s"}))
    world.ready()
    assert [s.grace for s in world.done if isinstance(s, Stop)] == [60.0]
    world.settle(entry=entry("paused", 3))
    assert [s.grace for s in world.done if isinstance(s, Stop)] == [60.0, 1.0]
