"""What runs and does not do its work is told by lint and doctor."""

from __future__ import annotations

import pytest

from nexthos_cli.doctor import store_checks as survey
from nexthos_shared.model import Condition, ConditionType, Phase, PipelineStatus, Truth
from nexthos_shared.model.stored import encode
from nexthos_shared.reasons import Reason
from nexthos_shared.store import KvEntry

CONTROLLER = {
    "controller": "host-1",
    "version": "0.1.0",
    "namespace": "x",
    "installation": "abc",
    "started_at": 1.0,
    "ready": True,
    "store": "nats://x",
    "engine": "/engine",
    "pipelines": 1,
    "queued": 0,
}
DYNAMIC = "input: {dynamic: {inputs: {a: {generate: {mapping: 'root = 1'}}}}}\noutput: {drop: {}}\n"


def condition(kind, value, reason, message):
    return {"type": kind, "status": value, "reason": reason, "message": message}


def stored(key: str, kind: ConditionType, reason: Reason, value: Truth = "True") -> KvEntry:
    condition = Condition(type=kind, status=value, reason=reason, message="60 errors in 10 s")
    status = PipelineStatus(phase=Phase.RUNNING, conditions=[condition])
    return KvEntry(key, 1, encode(status))


@pytest.mark.fault(133)
def test_doctor_warns_of_what_takes_messages_and_gives_none_on():
    check = survey.undelivered(
        [stored("orders", ConditionType.NOT_DELIVERING, Reason.NOT_DELIVERING)]
    )
    assert check.result == "warn"
    assert "orders" in check.message


@pytest.mark.parametrize("reason", Reason)
def test_a_condition_that_says_that_all_is_well_is_no_failure(reason):
    assert survey.failing([stored("orders", ConditionType.READY, reason)]).result == "ok"


def test_doctor_exits_1_while_a_pipeline_can_not_do_what_its_entry_says(person, controller):
    person.put("orders", {"status": "published", "version": "1"})
    with controller(lambda *_: None, status=lambda _: dict(CONTROLLER)):
        person.report("orders", "Running")
        assert person.types("doctor").exit_code == 0
        refused = [condition("Valid", "False", "LintFailed", "line 3")]
        person.report("orders", "Invalid", conditions=refused)
        done = person.types("doctor")
    assert "fail  pipelines: orders: LintFailed: line 3" in done.stdout
    assert done.exit_code == 1


@pytest.mark.parametrize("count", [1, 500])
def test_the_line_of_doctor_is_bounded(count):
    many = [stored(f"p{n}", ConditionType.ERRORING, Reason.ERRORING) for n in range(count)]
    assert survey.failing(many).message.count("60 errors") <= survey.MOST_TOLD


@pytest.mark.fault(131)
def test_lint_says_that_the_readiness_of_a_dynamic_input_can_not_be_judged(person):
    assert "(ReadinessUnknown)" in person.does("lint", person.file("d.yaml", DYNAMIC)).stderr
    plain = DYNAMIC.replace(
        "dynamic: {inputs: {a: {generate: {mapping: 'root = 1'}}}}",
        "generate: {mapping: 'root = 1'}",
    )
    assert "ReadinessUnknown" not in person.does("lint", person.file("e.yaml", plain)).stderr
