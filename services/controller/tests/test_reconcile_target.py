"""Table A of docs/architecture.md as sentences: what should be there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nexthos_controller.reconcile import (
    ConfigFacts,
    decide,
)
from nexthos_shared.model import ConditionType, Memory, Phase, read_entry
from nexthos_shared.reasons import Problem, Reason
from nexthos_testing.world import D1, D2, NOW, World, condition, entry, running


def test_a_first_publish_starts_without_a_lint() -> None:
    world = World()
    status = world.settle()
    assert world.kinds == ["Start"]
    assert (status.phase, status.version, status.digest) == (Phase.STARTING, "1", D1)
    assert condition(status, ConditionType.READY) == ("False", Reason.STARTING)


def test_what_is_ready_is_running() -> None:
    status = running().settle()
    assert (status.phase, status.ready, status.replicas) == (Phase.RUNNING, 1, 1)
    assert condition(status, ConditionType.READY) == ("True", Reason.READY)


def test_what_runs_as_wanted_is_left_alone() -> None:
    world = running()
    world.settle()
    assert world.kinds == []


def test_replicas_are_started_and_let_go() -> None:
    world = running(entry=entry(replicas=3))
    assert {e.replica for e in world.view.executions} == {0, 1, 2}
    world.settle(entry=entry(replicas=1, revision=2))
    assert world.kinds == ["Stop", "Remove", "Stop", "Remove"]
    assert [e.replica for e in world.view.executions] == [0]


def test_paused_stops_and_keeps() -> None:
    world = running()
    status = world.settle(entry=entry("paused", 2))
    assert world.kinds == ["Stop"]
    assert status.phase is Phase.PAUSED
    assert [e.state for e in world.view.executions] == ["stopped"]


def test_published_again_resumes_the_same_execution() -> None:
    world = running()
    name = world.view.executions[0].name
    world.settle(entry=entry("paused", 2))
    world.done.clear()
    world.settle(entry=entry("published", 3))
    assert world.kinds == ["Start"]
    assert [(e.name, e.state) for e in world.view.executions] == [(name, "running")]


def test_a_pipeline_that_was_never_started_and_is_paused_creates_nothing() -> None:
    world = World(entry=entry("paused"))
    assert world.settle().phase is Phase.PAUSED
    assert world.kinds == []


def test_draft_removes_every_trace_and_keeps_the_status() -> None:
    world = running()
    status = world.settle(entry=entry("draft", 2))
    assert world.kinds == ["Stop", "Remove"]
    assert (status.phase, world.view.executions, world.decision.forget) == (Phase.DRAFT, (), False)
    assert world.view.memory.current is None


def test_a_deleted_key_leaves_nothing_and_its_status_goes_last() -> None:
    world = running()
    world.view = replace(world.view, entry=read_entry("orders", 2, None))
    assert not decide(world.view).forget
    world.settle()
    assert world.kinds == ["Stop", "Remove"]
    assert world.decision.forget


@pytest.mark.fault(18, 19)
def test_an_absent_key_proves_nothing() -> None:
    world = running()
    status = world.settle(entry=None)
    assert world.kinds == []
    assert condition(status, ConditionType.ORPHANED) == ("True", Reason.ORPHANED)
    assert status.phase is Phase.UNKNOWN


@pytest.mark.fault(85)
@pytest.mark.parametrize("status", ["paused", "draft"])
def test_paused_and_draft_act_whatever_else_is_wrong(status: str) -> None:
    world = running()
    world.settle(entry=entry(status, 2, nonsense=1))
    assert "Stop" in world.kinds


@pytest.mark.parametrize("status", [None, "on"])
def test_an_unknown_status_changes_nothing_while_it_runs(status: str | None) -> None:
    world = running()
    result = world.settle(entry=entry(status, 2))
    assert world.kinds == []
    assert result.phase is Phase.RUNNING
    assert condition(result, ConditionType.VALID) == ("False", Reason.UNKNOWN_STATUS)


def test_an_unknown_status_changes_nothing_while_it_is_paused() -> None:
    world = running()
    world.settle(entry=entry("paused", 2))
    world.done.clear()
    assert world.settle(entry=entry("on", 3)).phase is Phase.PAUSED
    assert world.kinds == []


def test_an_unknown_status_of_something_new_is_invalid() -> None:
    world = World(entry=entry("on"))
    assert world.settle().phase is Phase.INVALID
    assert world.kinds == []


@pytest.mark.fault(46, 47)
def test_an_invalid_change_never_stops_what_runs() -> None:
    world = running()
    status = world.settle(entry=entry("published", 2, nonsense=1))
    assert world.kinds == []
    assert status.phase is Phase.RUNNING
    assert condition(status, ConditionType.VALID) == ("False", Reason.INVALID_DEFINITION)
    assert status.observed_revision == 2


def test_what_was_accepted_is_restarted_under_an_invalid_change() -> None:
    world = running()
    world.settle(entry=entry("published", 2, nonsense=1))
    world.ends(1)
    world.settle()
    world.settle(now=NOW + 2)
    assert world.kinds == ["Start"]


def test_an_invalid_first_definition_starts_nothing() -> None:
    world = World(entry=entry("published", 1, nonsense=1))
    assert world.settle().phase is Phase.INVALID
    assert world.kinds == []


@pytest.mark.fault(87)
def test_a_missing_configuration_is_named_and_starts_when_it_arrives() -> None:
    world = World(config=ConfigFacts())
    status = world.settle()
    assert (status.phase, world.kinds) == (Phase.INVALID, [])
    assert condition(status, ConditionType.VALID) == ("False", Reason.CONFIG_MISSING)
    world.settle(config=ConfigFacts(D1))
    assert world.kinds == ["Start"]


def test_an_object_that_can_not_be_used_is_refused() -> None:
    problem = Problem(Reason.CONFIG_TOO_LARGE, "too large")
    status = World(config=ConfigFacts(problem=problem)).settle()
    assert condition(status, ConditionType.VALID) == ("False", Reason.CONFIG_TOO_LARGE)


@pytest.mark.fault(45)
def test_another_digest_than_pinned_by_the_user_is_refused() -> None:
    status = World(entry=entry(digest=D2)).settle()
    assert condition(status, ConditionType.VALID) == ("False", Reason.DIGEST_MISMATCH)


@pytest.mark.fault(86)
def test_an_overwritten_object_is_reported_and_never_picked_up() -> None:
    world = running()
    status = world.settle(config=ConfigFacts(D2))
    assert world.kinds == []
    assert status.digest == D1
    assert condition(status, ConditionType.VALID) == ("False", Reason.CONFIG_CHANGED)


def test_a_removed_object_is_reported_and_what_runs_runs_on() -> None:
    world = running()
    status = world.settle(config=ConfigFacts())
    assert (world.kinds, status.phase) == ([], Phase.RUNNING)
    assert condition(status, ConditionType.VALID) == ("False", Reason.CONFIG_MISSING)


def test_trouble_with_the_store_says_nothing_of_what_runs() -> None:
    world = running()
    unavailable = Problem(Reason.STORE_UNAVAILABLE, "no answer")
    status = world.settle(config=ConfigFacts(problem=unavailable))
    assert condition(status, ConditionType.VALID) == ("True", Reason.VALID)


@pytest.mark.fault(47)
def test_an_executor_that_is_not_offered_is_refused_with_those_that_are() -> None:
    status = World(entry=entry(executor="nex")).settle()
    found = status.condition(ConditionType.VALID)
    assert found is not None
    assert found.reason is Reason.UNKNOWN_EXECUTOR
    assert "docker, process" in found.message


def test_what_an_executor_can_not_do_is_refused() -> None:
    problem = Problem(Reason.CANNOT_RUN_HERE, "resources.cpu: no", field="resources.cpu")
    status = World(checks={"process": (problem,)}).settle()
    assert condition(status, ConditionType.VALID) == ("False", Reason.CANNOT_RUN_HERE)


def test_an_omitted_executor_means_where_it_runs_already() -> None:
    world = running(entry=entry(executor="docker"))
    world.settle(entry=entry(revision=2, version="2"), config=ConfigFacts(D2))
    assert {e.executor for e in world.view.executions if e.state == "running"} == {"docker"}


def test_lost_memory_is_rebuilt_from_what_runs() -> None:
    world = running()
    status = world.settle(memory=Memory(), config=ConfigFacts(D2))
    assert world.kinds == []
    assert (status.digest, status.phase) == (D1, Phase.RUNNING)


def test_replicas_that_can_not_be_had_are_refused_and_what_runs_runs_on() -> None:
    cannot = Problem(Reason.CANNOT_RUN_HERE, "a port is for one", "executor_options.ports")
    world = running()
    status = world.settle(entry=entry(revision=2, replicas=2), checks={"process": (cannot,)})
    assert condition(status, ConditionType.VALID) == ("False", Reason.CANNOT_RUN_HERE)
    assert [e.replica for e in world.view.executions if e.state == "running"] == [0]
    # What the settings allow no longer is no reason to stop what was accepted.
    status = world.settle(entry=entry(revision=3, name="Orders"))
    assert condition(status, ConditionType.VALID) == ("True", Reason.VALID)
    assert [e.replica for e in world.view.executions if e.state == "running"] == [0]
