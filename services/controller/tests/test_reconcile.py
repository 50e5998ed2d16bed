"""Deciding: tables A, B and C of docs/architecture.md as sentences. Values in, values out."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from nexthos_controller.executors.base import Execution, Exit
from nexthos_controller.reconcile import (
    ConfigFacts,
    Decision,
    Lint,
    Prepare,
    Remove,
    Start,
    Stop,
    View,
    decide,
    report,
)
from nexthos_controller.reconcile.failure import delay_after
from nexthos_shared.models import ConditionType, Memory, Phase, PipelineStatus, read_entry
from nexthos_shared.reasons import Problem, Reason

NOW = 1_000_000.0
D1, D2 = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def entry(status: str | None = "published", revision: int = 1, **fields: Any) -> Any:
    value = {"version": "1", **fields}
    if status is not None:
        value["status"] = status
    return read_entry("orders", revision, json.dumps(value).encode())


def view(**fields: Any) -> View:
    usual: dict[str, Any] = {
        "key": "orders",
        "entry": entry(),
        "memory": Memory(),
        "now": NOW,
        "config": ConfigFacts(D1),
        "checks": {"process": (), "docker": ()},
    }
    return View(**{**usual, **fields})


class World:
    """The smallest executor there is: applies a decision's steps at once, and decides again."""

    def __init__(self, **fields: Any) -> None:
        self.view = view(**fields)
        self.lint_says: dict[str, tuple[Problem, ...]] = {}
        self.done: list[Any] = []
        self.births = 0
        self.decision: Decision = decide(self.view)

    def settle(self, **fields: Any) -> PipelineStatus:
        """Decide and act until nothing is left to do."""
        self.view = replace(self.view, **fields)
        for _ in range(10):
            self.decision = decide(self.view)
            self.view = replace(self.view, memory=self.decision.memory)
            if not self.decision.steps:
                return report(self.view, self.decision, None)
            for step in self.decision.steps:
                self.done.append(step)
                self._take(step)
        raise AssertionError(f"never settles: {self.decision.steps}")

    def _take(self, step: Any) -> None:
        there = {e.name: e for e in self.view.executions}
        match step:
            case Lint(spec):
                says = self.lint_says.get(spec.digest, ())
                self.view = replace(self.view, lints={**self.view.lints, spec.spec_hash: says})
            case Prepare():
                pass
            case Start(spec, replica):
                self.births += 1
                name = f"{spec.spec_hash[:8]}-{replica}-{spec.executor}"
                there[name] = Execution(
                    name=name,
                    id="orders",
                    replica=replica,
                    uid=f"u{self.births}",
                    executor=spec.executor,
                    place="here",
                    spec_hash=spec.spec_hash,
                    revision=spec.revision,
                    digest=spec.digest,
                    state="running",
                    started_at=self.view.now + self.births / 1000,
                )
            case Stop(execution):
                ended = Exit(0, signalled=True)
                there[execution.name] = replace(
                    there[execution.name], state="stopped", exit=ended, ready=None
                )
            case Remove(execution):
                assert there[execution.name].state != "running"
                del there[execution.name]
        self.view = replace(self.view, executions=tuple(there.values()))

    def change(self, index: int = 0, **fields: Any) -> None:
        """Something happens to an execution."""
        executions = list(self.view.executions)
        executions[index] = replace(executions[index], **fields)
        self.view = replace(self.view, executions=tuple(executions))

    def ends(self, code: int | None, *, signalled: bool = False, index: int = 0) -> None:
        self.change(index, state="stopped", exit=Exit(code, signalled), ready=None)

    def ready(self) -> PipelineStatus:
        for index, execution in enumerate(self.view.executions):
            if execution.state == "running":
                self.change(index, ready=True)
        return self.settle()

    @property
    def kinds(self) -> list[str]:
        kinds = [type(step).__name__ for step in self.done]
        self.done.clear()
        return kinds


def running(**fields: Any) -> World:
    world = World(**fields)
    world.settle()
    assert world.ready().phase is Phase.RUNNING
    world.done.clear()
    return world


def condition(status: PipelineStatus, kind: ConditionType) -> tuple[str, Reason]:
    found = status.condition(kind)
    assert found is not None, status.conditions
    return found.status, found.reason


# --- A. what should be there


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


def test_an_absent_key_proves_nothing() -> None:
    world = running()
    status = world.settle(entry=None)
    assert world.kinds == []
    assert condition(status, ConditionType.ORPHANED) == ("True", Reason.ORPHANED)
    assert status.phase is Phase.UNKNOWN


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


def test_another_digest_than_pinned_by_the_user_is_refused() -> None:
    status = World(entry=entry(digest=D2)).settle()
    assert condition(status, ConditionType.VALID) == ("False", Reason.DIGEST_MISMATCH)


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


# --- B. step by step


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


def test_a_silent_place_is_unknown_and_nothing_is_started_or_removed() -> None:
    world = running()
    silent = (Problem(Reason.PLACE_LOST, "replica 0 lived on process/there"),)
    status = world.settle(executions=(), silent=silent)
    assert (world.kinds, status.phase) == ([], Phase.UNKNOWN)
    assert condition(status, ConditionType.REACHABLE) == ("False", Reason.PLACE_LOST)
    assert world.decision.look_again is not None
    assert world.settle(entry=entry("paused", 2)).phase is Phase.UNKNOWN


def test_deleted_while_its_place_is_silent_it_is_stopping_until_confirmed() -> None:
    world = running()
    silent = (Problem(Reason.EXECUTOR_UNREACHABLE, "no answer"),)
    marker = read_entry("orders", 2, None)
    status = world.settle(entry=marker, executions=(), silent=silent)
    assert (status.phase, world.decision.forget) == (Phase.STOPPING, False)
    world.settle(silent=())
    assert world.decision.forget


def test_a_port_taken_by_another_program_costs_a_new_start() -> None:
    world = running()
    world.change(ready=False, problem=Problem(Reason.PORT_IN_USE, "port 4195"))
    world.decision = decide(world.view)
    assert [type(s).__name__ for s in world.decision.steps] == ["Stop"]


# --- C. ends that nobody asked for


def test_an_end_is_counted_once_and_restarted_after_its_delay() -> None:
    world = running()
    world.ends(7)
    status = world.settle()
    assert (world.kinds, status.phase, status.restarts) == ([], Phase.STARTING, 1)
    assert condition(status, ConditionType.READY) == ("False", Reason.EXITED)
    assert world.decision.look_again == 1.0
    assert world.settle(now=NOW + 0.5).restarts == 1
    world.settle(now=NOW + 1.0)
    assert world.kinds == ["Start"]


def test_the_delay_doubles_and_the_fifth_end_in_a_row_is_a_crash_loop() -> None:
    assert [delay_after(n) for n in range(1, 7)] == [1, 2, 4, 8, 300, 300]
    world = running()
    now = NOW
    for _ in range(5):
        world.ends(7)
        status = world.settle()
        now += 301
        world.done.clear()
        if status.phase is Phase.CRASH_LOOP:
            break
        world.settle(now=now)
    assert status.phase is Phase.CRASH_LOOP
    assert condition(status, ConditionType.READY) == ("False", Reason.CRASH_LOOP)
    assert status.restarts == 5
    world.settle(now=now)
    assert world.kinds == ["Start"]
    assert world.settle().phase is Phase.CRASH_LOOP


def test_ten_healthy_minutes_make_earlier_ends_count_no_more() -> None:
    world = running()
    for _ in range(3):
        world.ends(7)
        world.settle()
        world.settle(now=world.view.now + 20)
    world.settle(now=world.view.now + 700)
    world.ends(7)
    world.settle()
    assert world.view.memory.slots[0].failures == 1
    assert world.view.memory.slots[0].restarts == 4


def test_what_vanished_counts_as_an_end() -> None:
    world = running()
    status = world.settle(executions=())
    assert (world.kinds, status.restarts) == ([], 1)
    assert condition(status, ConditionType.READY) == ("False", Reason.VANISHED)
    world.settle(now=NOW + 2)
    assert world.kinds == ["Start"]


def test_a_service_that_ends_cleanly_is_restarted_and_says_so() -> None:
    world = running()
    world.ends(0)
    assert condition(world.settle(), ConditionType.READY) == ("False", Reason.EXITED_CLEANLY)


@pytest.mark.parametrize("code", [None, 137])
def test_a_kill_is_called_a_kill(code: int | None) -> None:
    world = running()
    world.ends(code)
    assert condition(world.settle(), ConditionType.READY) == ("False", Reason.KILLED)


def test_the_engines_last_line_is_the_message() -> None:
    world = running()
    cause = Problem(Reason.EXITED, "failed to build input: no such file", line=4, column=2)
    world.change(state="stopped", exit=Exit(1, False, cause))
    found = world.settle().condition(ConditionType.READY)
    assert found is not None
    assert "no such file" in found.message
    assert found.line == 4


def test_resuming_forgets_the_backoff_but_not_the_count() -> None:
    world = running()
    world.ends(7)
    world.settle()
    world.settle(entry=entry("paused", 2))
    status = world.settle(entry=entry("published", 3))
    assert (world.kinds, status.restarts) == (["Start"], 1)


def test_exit_1_before_it_was_ever_ready_asks_lint_and_passes_to_backoff() -> None:
    world = World()
    world.settle()
    world.ends(1)
    world.done.clear()
    status = world.settle()
    assert (world.kinds, status.phase) == (["Lint"], Phase.STARTING)


def test_a_first_publish_that_fails_lint_is_invalid_and_leaves_nothing() -> None:
    world = World()
    world.lint_says[D1] = (Problem(Reason.LINT_FAILED, "line 1"),)
    world.settle()
    world.ends(1)
    world.done.clear()
    status = world.settle()
    assert world.kinds == ["Lint", "Remove"]
    assert (status.phase, world.view.executions) == (Phase.INVALID, ())
    assert condition(status, ConditionType.VALID) == ("False", Reason.LINT_FAILED)


def test_a_held_spec_is_not_tried_again_until_it_changes() -> None:
    world = World()
    world.lint_says[D1] = (Problem(Reason.LINT_FAILED, "line 1"),)
    world.settle()
    world.ends(1)
    world.settle()
    world.done.clear()
    world.view = replace(world.view, lints={})  # a restarted controller has no lint results
    assert world.settle(entry=entry(revision=9)).phase is Phase.INVALID
    assert world.kinds == []
    world.settle(entry=entry(revision=10, version="2"), config=ConfigFacts(D2))
    assert world.kinds == ["Start"]


def test_a_job_that_ends_well_is_completed_and_not_revived() -> None:
    world = running(entry=entry(lifecycle="job"))
    world.ends(0)
    status = world.settle()
    assert (world.kinds, status.phase) == ([], Phase.COMPLETED)
    assert condition(status, ConditionType.READY) == ("True", Reason.COMPLETED)
    world.settle(now=NOW + 9999, executions=())
    assert world.kinds == []
    world.settle(entry=entry(revision=2, version="2", lifecycle="job"), config=ConfigFacts(D2))
    assert "Start" in world.kinds


def test_a_job_that_was_paused_runs_again() -> None:
    world = running(entry=entry(lifecycle="job"))
    world.settle(entry=entry("paused", 2, lifecycle="job"))
    world.settle(entry=entry("published", 3, lifecycle="job"))
    assert world.kinds == ["Stop", "Start"]


def test_a_job_is_retried_as_often_as_it_says_and_then_failed() -> None:
    world = running(entry=entry(lifecycle="job", retries=1))
    world.ends(3)
    world.settle()
    world.settle(now=NOW + 5)
    assert world.kinds == ["Start"]
    world.ends(3)
    status = world.settle()
    assert status.phase is Phase.FAILED
    assert condition(status, ConditionType.READY) == ("False", Reason.RETRIES_EXHAUSTED)
    world.settle(now=NOW + 9999)
    assert world.kinds == []


def test_a_completed_update_of_a_job_lets_the_old_one_go() -> None:
    world = running(entry=entry(lifecycle="job"))
    world.ends(0)
    world.settle()
    world.settle(entry=entry(revision=2, version="2", lifecycle="job"), config=ConfigFacts(D2))
    index = next(i for i, e in enumerate(world.view.executions) if e.digest == D2)
    world.ends(0, index=index)
    world.done.clear()
    world.settle()
    assert world.kinds == ["Remove"]


def test_disconnected_after_it_was_ready_it_is_running_but_not_ready() -> None:
    world = running()
    world.change(ready=False, problem=Problem(Reason.NOT_CONNECTED, "output not connected"))
    status = world.settle()
    assert (world.kinds, status.phase, status.ready) == ([], Phase.RUNNING, 0)
    assert condition(status, ConditionType.READY) == ("False", Reason.NOT_CONNECTED)


# --- the report


def test_a_fault_of_acting_is_reported_with_its_name() -> None:
    fault = Problem(Reason.NAME_CONFLICT, "container nexthos-orders-0-x is not ours")
    status = report(view(fault=fault), decide(view(fault=fault)), None)
    assert condition(status, ConditionType.NAME_CONFLICT) == ("True", Reason.NAME_CONFLICT)
    assert condition(status, ConditionType.READY) == ("False", Reason.NAME_CONFLICT)


def test_a_condition_keeps_its_date_while_nothing_changes() -> None:
    world = running()
    first = report(world.view, world.decision, None)
    later = replace(world.view, now=NOW + 100)
    second = report(later, decide(later), first)
    assert [c.since for c in second.conditions] == [c.since for c in first.conditions]


def test_warnings_of_the_bytes_that_run_are_shown() -> None:
    warning = Problem(Reason.METRICS_NOT_SCRAPED, "metrics go to statsd")
    status = running(config=ConfigFacts(D1, warnings=(warning,))).settle()
    assert condition(status, ConditionType.WARNING) == ("True", Reason.METRICS_NOT_SCRAPED)


def test_a_published_pipeline_that_starts_is_looked_at_again_without_a_hint() -> None:
    world = World()
    world.settle()
    assert world.decision.look_again == 5.0
    world.ready()
    assert world.decision.look_again is None


def test_the_complaint_is_the_most_urgent_condition() -> None:
    world = running()
    status = world.settle(entry=entry("published", 2, nonsense=1))
    assert status.complaint is not None
    assert status.complaint.type is ConditionType.VALID
    assert running().settle().complaint is None
