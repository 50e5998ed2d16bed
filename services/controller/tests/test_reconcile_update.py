"""Updates that go well, updates that don't, and the way back to what was good."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nexthos_controller.reconcile import ConfigFacts, Start, decide, report
from nexthos_shared.model import ConditionType, Phase, PipelineStatus
from nexthos_shared.reasons import Problem, Reason
from nexthos_testing.world import D1, D2, NOW, World, condition, entry, running

REFUSED = Problem(Reason.NOT_CONNECTED, "output nats: dial tcp 127.0.0.1:1: connection refused")


def good(**fields: Any) -> World:
    """A pipeline that has been ready for as long as it takes to be the last good one."""
    world = running(**fields)
    world.settle(now=NOW + 11)
    assert world.view.memory.last_good is not None
    return world


def never_ready(world: World, seconds: float = 31) -> PipelineStatus:
    """The newest execution stays not ready for that long."""
    world.settle()
    for index, execution in enumerate(world.view.executions):
        if execution.state == "running":
            world.change(index, ready=False, problem=REFUSED)
    return world.settle(now=world.view.now + seconds)


def test_good_is_what_was_ready_for_ten_seconds_together() -> None:
    world = running()
    assert world.view.memory.last_good is None
    assert world.decision.look_again == 10.0
    world.settle(now=NOW + 9)
    assert world.view.memory.last_good is None
    world.settle(now=NOW + 10)
    assert world.view.memory.last_good is not None
    assert world.decision.look_again is None


def test_of_two_replicas_that_are_never_ready_together_nothing_is_good() -> None:
    world = World(entry=entry(replicas=2))
    world.settle()
    world.change(0, ready=True)
    world.settle(now=NOW + 100)
    world.change(0, ready=False)
    world.change(1, ready=True)
    world.settle(now=NOW + 200)
    assert world.view.memory.last_good is None


@pytest.mark.fault(73)
@pytest.mark.parametrize("strategy", ["recreate", "rolling"])
def test_an_update_of_env_alone_that_is_never_ready_brings_the_whole_definition_back(
    strategy: str,
) -> None:
    world = good(entry=entry(env={"TO": "good"}, update={"strategy": strategy}))
    first = world.view.executions[0]
    bad = entry("published", 2, env={"TO": "bad"}, update={"strategy": strategy}, replicas=2)
    world.settle(entry=bad)
    status = never_ready(world)
    current = world.view.memory.current
    assert current is not None
    assert (current.definition.env, current.definition.replicas) == ({"TO": "good"}, 1)
    status = world.ready()
    assert status.phase is Phase.RUNNING
    assert [e.spec_hash for e in world.view.executions] == [first.spec_hash]
    assert status.observed_revision == 2
    assert condition(status, ConditionType.PROGRESSING) == ("False", Reason.ROLLED_BACK)
    assert condition(status, ConditionType.VALID) == ("True", Reason.VALID)
    assert status.complaint is not None
    assert "connection refused" in status.complaint.message


@pytest.mark.fault(72, 84)
def test_what_was_rolled_back_is_held_until_it_changes() -> None:
    world = good()
    world.settle(entry=entry("published", 2, env={"A": "1"}))
    never_ready(world)
    world.ready()
    world.kinds  # noqa: B018
    again = entry("published", 3, env={"A": "1"}, name="the same once more")
    world.settle(entry=again, now=NOW + 1000)
    assert world.kinds == []
    world.settle(entry=entry("published", 4, env={"A": "1"}, restart_nonce=1))
    assert "Start" in world.kinds


def test_going_back_by_hand_releases_the_hold() -> None:
    world = good()
    bad = entry("published", 2, env={"A": "1"})
    world.settle(entry=bad)
    never_ready(world)
    world.ready()
    status = world.settle(entry=entry("published", 3))
    assert status.complaint is None
    world.kinds  # noqa: B018
    world.settle(entry=entry("published", 4, env={"A": "1"}))
    assert "Start" in world.kinds


def test_a_crash_before_it_was_ever_ready_rolls_back_at_once() -> None:
    world = good()
    world.settle(entry=entry("published", 2, env={"A": "1"}))
    new = next(i for i, e in enumerate(world.view.executions) if e.state == "running")
    world.ends(7, index=new)
    world.settle()
    status = world.ready()
    assert status.phase is Phase.RUNNING
    assert condition(status, ConditionType.PROGRESSING) == ("False", Reason.ROLLED_BACK)


@pytest.mark.fault(76)
def test_nothing_is_rolled_back_if_the_last_good_one_was_not_ready_when_the_update_began() -> None:
    world = good()
    world.change(0, ready=False, problem=REFUSED)  # the broker is away
    world.settle(now=NOW + 20)
    world.settle(entry=entry("published", 2, env={"A": "1"}))
    status = never_ready(world)
    current = world.view.memory.current
    assert current is not None
    assert current.definition.env == {"A": "1"}
    assert condition(status, ConditionType.PROGRESSING) == ("False", Reason.READY_TIMEOUT)
    assert condition(status, ConditionType.READY) == ("False", Reason.NOT_CONNECTED)
    assert world.ready().complaint is None


@pytest.mark.fault(43)
def test_a_slow_start_is_a_start_and_no_crash() -> None:
    world = World()
    world.settle()
    world.change(0, ready=False, problem=REFUSED)
    status = world.settle(now=NOW + 29)
    assert (status.phase, status.restarts) == (Phase.STARTING, 0)
    assert condition(status, ConditionType.READY) == ("False", Reason.STARTING)
    world.kinds  # noqa: B018
    status = world.settle(now=NOW + 10_000)
    assert (status.phase, status.restarts, world.kinds) == (Phase.STARTING, 0, [])
    assert condition(status, ConditionType.READY) == ("False", Reason.NOT_CONNECTED)


def test_rollback_false_stays_and_says_so() -> None:
    world = good(entry=entry(update={"rollback": False}))
    world.settle(entry=entry("published", 2, env={"A": "1"}, update={"rollback": False}))
    status = never_ready(world)
    assert condition(status, ConditionType.PROGRESSING) == ("False", Reason.READY_TIMEOUT)


def test_what_was_rolled_back_to_is_never_rolled_back() -> None:
    world = good()
    world.settle(entry=entry("published", 2, env={"A": "1"}))
    never_ready(world)
    live = next(i for i, e in enumerate(world.view.executions) if e.state == "running")
    world.ends(7, index=live)
    status = world.settle(now=NOW + 5_000)
    status = world.settle(now=NOW + 10_000)
    assert status.phase is not Phase.RUNNING
    assert condition(status, ConditionType.PROGRESSING) == ("False", Reason.ROLLED_BACK)
    assert len([e for e in world.view.executions if e.state == "running"]) == 1


def test_without_its_bytes_there_is_no_way_back() -> None:
    world = good(entry=entry(executor="process"), config=ConfigFacts(D1))
    world.settle(entry=entry("published", 2, executor="docker", env={"A": "1"}))
    status = never_ready(world)
    assert condition(status, ConditionType.PROGRESSING) == ("False", Reason.READY_TIMEOUT)
    status = world.settle(good_stored=True)
    assert condition(status, ConditionType.PROGRESSING) == ("False", Reason.ROLLED_BACK)


def test_an_update_of_an_update_that_was_not_ready_yet_goes_back_to_the_good_one() -> None:
    world = good()
    world.settle(entry=entry("published", 2, env={"A": "1"}))
    world.settle(entry=entry("published", 3, env={"A": "2"}))
    never_ready(world)
    current = world.view.memory.current
    assert current is not None
    assert current.definition.env == {}


def test_the_deadline_is_looked_at_without_a_hint() -> None:
    world = good()
    world.settle(entry=entry("published", 2, env={"A": "1"}, update={"ready_timeout": "3s"}))
    assert world.decision.look_again == pytest.approx(3.0, abs=0.1)


def test_a_short_loss_of_readiness_is_not_told() -> None:
    world = good()
    before = world.settle()
    world.change(0, ready=False, problem=REFUSED)
    world.view = replace(world.view, now=NOW + 100)
    decision = decide(world.view)
    status = report(world.view, decision, before)
    assert condition(status, ConditionType.READY) == ("True", Reason.READY)
    assert status.ready == 0
    assert decision.look_again == 5.0
    world.view = replace(world.view, memory=decision.memory, now=NOW + 110)
    status = report(world.view, decide(world.view), status)
    assert condition(status, ConditionType.READY) == ("False", Reason.NOT_CONNECTED)


def test_a_job_is_retried_and_not_rolled_back() -> None:
    world = good(entry=entry(lifecycle="job"))
    world.settle(entry=entry("published", 2, lifecycle="job", env={"A": "1"}, retries=3))
    live = next(i for i, e in enumerate(world.view.executions) if e.state == "running")
    world.ends(7, index=live)
    status = world.settle()
    assert status.restarts == 1
    assert condition(status, ConditionType.PROGRESSING) != ("False", Reason.ROLLED_BACK)


def test_another_version_with_other_bytes_is_rolled_back_too() -> None:
    world = good()
    world.settle(entry=entry("published", 2, version="2"), config=ConfigFacts(D2))
    never_ready(world)
    status = world.ready()
    assert (status.version, status.phase) == ("1", Phase.RUNNING)
    starts = [s for s in world.done if isinstance(s, Start)]
    assert starts[-1].spec.digest == D1
