"""What readers are told of a decision."""

from __future__ import annotations

from dataclasses import replace

from nexthos_controller.reconcile import (
    decide,
    report,
)
from nexthos_shared.model import ConditionType, Traits
from nexthos_shared.reasons import Problem, Reason
from nexthos_testing.world import NOW, World, condition, entry, running, view


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
    status = running(traits=Traits(warnings=[warning])).settle()
    assert condition(status, ConditionType.WARNING) == ("True", Reason.METRICS_NOT_SCRAPED)


def test_a_published_pipeline_that_starts_is_looked_at_again_without_a_hint() -> None:
    world = World()
    world.settle()
    assert world.decision.look_again == 5.0
    world.ready()
    assert world.decision.look_again == 10.0, "then it is the last good one"
    world.settle(now=NOW + 10)
    assert world.decision.look_again is None


def test_the_complaint_is_the_most_urgent_condition() -> None:
    world = running()
    status = world.settle(entry=entry("published", 2, nonsense=1))
    assert status.complaint is not None
    assert status.complaint.type is ConditionType.VALID
    assert running().settle().complaint is None
