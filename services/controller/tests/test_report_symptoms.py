"""What readers are told of symptoms, and that nothing which works is rolled back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nexthos_controller.execution import SAYS
from nexthos_controller.reconcile.report import STARTS_WITHIN
from nexthos_controller.reconcile.transitions import transitions
from nexthos_shared.model import ConditionType, Phase, Traits
from nexthos_shared.reasons import Problem, Reason
from nexthos_testing.world import NOW, World, condition, running

ERRORING = Problem(Reason.ERRORING, "60 errors in 10 s, the last in root.output: refused")
SILENT = Problem(Reason.NOT_DELIVERING, "300 messages came in, and none out")
REFUSED = Problem(Reason.NOT_CONNECTED, f"not connected{SAYS}nats: Authorization Violation")


def seen(world: World, **fields: object) -> World:
    executions = tuple(replace(e, **fields) for e in world.view.executions)  # type: ignore[arg-type]
    world.view = replace(world.view, executions=executions)
    return world


@pytest.mark.fault(133)
@pytest.mark.parametrize(
    ("problem", "kind"),
    [(ERRORING, ConditionType.ERRORING), (SILENT, ConditionType.NOT_DELIVERING)],
)
def test_what_goes_wrong_while_it_runs_is_a_condition_and_a_bad_event(problem, kind):
    world = running()
    before = world.settle()
    after = seen(world, symptoms=(problem,)).settle()
    assert after.phase is Phase.RUNNING
    assert condition(after, kind) == ("True", problem.reason)
    assert after.complaint is not None
    assert after.complaint.message == problem.message
    assert condition(after, ConditionType.READY) == ("True", Reason.READY)
    told = [(t.data.reason, t.data.bad) for t in transitions("orders", before, after)]
    assert (problem.reason, True) in told
    healed = seen(world, symptoms=()).settle()
    assert healed.condition(kind) is None


@pytest.mark.fault(133)
@pytest.mark.parametrize(
    ("component", "alarms"),
    [
        ("root.pipeline.processors.0", False),
        ("root.pipeline.processors.0.branch.processors.1", False),
        ("root.pipeline.processors.01", True),
        ("root.pipeline.processors.1", True),
        ("root.output", True),
        (None, True),
    ],
)
def test_errors_that_the_configuration_deals_with_are_no_condition(component, alarms):
    world = running()
    traits = Traits(handled=["root.pipeline.processors.0"])
    world.view = replace(world.view, traits=traits)
    world.settle()
    status = seen(world, symptoms=(replace(ERRORING, field=component),)).settle()
    assert (status.condition(ConditionType.ERRORING) is not None) is alarms


@pytest.mark.fault(128)
def test_a_start_tells_the_engines_error_once_it_lasts():
    world = World()
    world.settle()
    status = seen(world, ready=False, problem=REFUSED).settle(now=NOW + STARTS_WITHIN / 2)
    assert condition(status, ConditionType.READY) == ("False", Reason.STARTING)
    status = world.settle(now=NOW + STARTS_WITHIN + 1)
    assert condition(status, ConditionType.READY) == ("False", Reason.NOT_CONNECTED)
    assert status.complaint is not None
    assert "Authorization Violation" in status.complaint.message


def test_a_start_that_says_only_that_it_is_not_connected_yet_is_a_start():
    world = World()
    world.settle()
    nothing = Problem(Reason.NOT_CONNECTED, "an input or output is not connected")
    status = seen(world, ready=False, problem=nothing).settle(now=NOW + STARTS_WITHIN + 1)
    assert condition(status, ConditionType.READY) == ("False", Reason.STARTING)


@pytest.mark.fault(131)
@pytest.mark.parametrize(("unknown", "late"), [(True, False), (False, True)])
def test_what_the_engine_never_calls_ready_is_never_late(unknown, late):
    warnings = [Problem(Reason.READINESS_UNKNOWN, "dynamic")] if unknown else []
    world = World(traits=Traits(warnings=warnings))
    world.settle()
    seen(world, ready=False).settle(now=NOW + 1000)
    assert (world.decision.late is not None) is late
