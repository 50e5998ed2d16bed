"""Part C of docs/architecture.md as sentences: ends that nobody asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nexthos_controller.execution import Exit
from nexthos_controller.reconcile import (
    ConfigFacts,
)
from nexthos_controller.reconcile.failure import delay_after
from nexthos_shared.backoff import JITTER
from nexthos_shared.model import ConditionType, Phase, Traits
from nexthos_shared.reasons import Problem, Reason
from nexthos_testing.world import D1, D2, NOW, World, condition, entry, running


def test_an_end_is_counted_once_and_restarted_after_its_delay() -> None:
    world = running()
    world.ends(7)
    status = world.settle()
    assert (world.kinds, status.phase, status.restarts) == ([], Phase.STARTING, 1)
    assert condition(status, ConditionType.READY) == ("False", Reason.EXITED)
    assert world.decision.look_again == pytest.approx(1.0, rel=JITTER)
    assert world.settle(now=NOW + 0.5).restarts == 1
    world.settle(now=NOW + 1.0)
    assert world.kinds == ["Start"]


@pytest.mark.fault(36)
def test_the_delay_doubles_and_the_fifth_end_in_a_row_is_a_crash_loop() -> None:
    usual = [1, 2, 4, 8, 300, 300]
    assert [delay_after(n) for n in range(1, 7)] == pytest.approx(usual, rel=JITTER)
    assert len({delay_after(5, f"u{n}") for n in range(20)}) == 20, "what crashed together"
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


@pytest.mark.fault(37)
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


@pytest.mark.fault(81)
def test_what_vanished_counts_as_an_end() -> None:
    world = running()
    status = world.settle(executions=())
    assert (world.kinds, status.restarts) == ([], 1)
    assert condition(status, ConditionType.READY) == ("False", Reason.VANISHED)
    world.settle(now=NOW + 2)
    assert world.kinds == ["Start"]


@pytest.mark.fault(34)
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


@pytest.mark.parametrize("reason", [Reason.CANNOT_RUN_HERE, Reason.VARIABLE_MISSING])
def test_what_its_executor_will_not_have_for_its_bytes_is_invalid_and_not_tried_again(
    reason: Reason,
) -> None:
    refusal = Problem(reason, "line 1")
    world = World(fault=refusal)
    world.lint_says[D1] = (Problem(Reason.NOT_LINTED, "only in an image"), refusal)
    status = world.settle()
    assert world.kinds == ["Lint"]
    assert status.phase is Phase.INVALID
    assert condition(status, ConditionType.VALID) == ("False", reason)
    status = world.settle(fault=None)
    assert (world.kinds, status.phase) == ([], Phase.INVALID)


def test_a_start_that_failed_for_another_reason_is_tried_again_and_asks_nobody() -> None:
    world = World(fault=Problem(Reason.START_FAILED, "disk full"))
    world.settle()
    assert world.kinds == ["Start"]


def test_what_was_ready_once_is_tried_again_whatever_its_executor_says() -> None:
    world = running()
    world.ready()
    world.lint_says[D1] = (Problem(Reason.CANNOT_RUN_HERE, "line 1"),)
    world.ends(1)
    world.settle()
    world.done.clear()
    world.settle(fault=Problem(Reason.CANNOT_RUN_HERE, "line 1"), now=world.view.now + 60)
    assert world.kinds == ["Start"]


@pytest.mark.parametrize("strategy", ["rolling", "recreate"])
def test_an_update_that_an_earlier_controller_began_and_this_one_sees_refused_is_taken_back(
    strategy: str,
) -> None:
    update = {"strategy": strategy}
    world = running(entry=entry(update=update), good_stored=True)
    world.settle(now=NOW + 60)
    before = world.view.executions
    world.settle(entry=entry(revision=2, version="2", update=update), config=ConfigFacts(D2))
    assert world.view.memory.current is not None
    assert world.view.memory.current.digest == D2
    refusal = Problem(Reason.CANNOT_RUN_HERE, "line 1")
    world.lint_says[D2] = (refusal,)
    world.done.clear()
    # Its start raised before anything was stopped, and a restarted controller has no lint results.
    status = world.settle(executions=before, fault=refusal, lints={})
    assert (world.kinds, world.view.executions) == (["Lint"], before)
    assert (status.phase, status.version) == (Phase.RUNNING, "1")
    assert condition(status, ConditionType.VALID) == ("False", Reason.CANNOT_RUN_HERE)
    status = world.settle(fault=None, lints={})
    assert ("Start" in world.kinds, status.phase) == (False, Phase.RUNNING)


@pytest.mark.fault(84)
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


@pytest.mark.fault(35)
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


@pytest.mark.fault(79)
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


@pytest.mark.fault(42)
def test_disconnected_after_it_was_ready_it_is_running_but_not_ready() -> None:
    world = running()
    world.change(ready=False, problem=Problem(Reason.NOT_CONNECTED, "output not connected"))
    status = world.settle()
    assert (world.kinds, status.phase, status.ready) == ([], Phase.RUNNING, 0)
    assert condition(status, ConditionType.READY) == ("False", Reason.NOT_CONNECTED)


@pytest.mark.fault(75)
def test_a_crash_loop_of_a_service_whose_input_ends_names_the_cause() -> None:
    finite = Problem(Reason.FINITE_INPUT, "its input is known to end, and a service runs for ever")
    world = running(traits=Traits(warnings=[finite]))
    for round in range(1, 6):
        world.ends(0)
        status = world.settle()
        world.settle(now=NOW + round * 20)
    assert status.phase is Phase.CRASH_LOOP
    assert status.complaint is not None
    assert finite.message in status.complaint.message
    assert condition(status, ConditionType.WARNING) == ("True", Reason.FINITE_INPUT)
    job = running(entry=entry(lifecycle="job"), traits=Traits(warnings=[finite]))
    assert job.settle().condition(ConditionType.WARNING) is None
