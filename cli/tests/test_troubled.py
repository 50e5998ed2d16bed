"""What runs and does not do its work is told by lint and doctor."""

from __future__ import annotations

import pytest

from nexthos_cli import survey
from nexthos_shared.models import Condition, ConditionType, Phase, PipelineStatus
from nexthos_shared.reasons import Reason
from nexthos_shared.stores import KvEntry

DYNAMIC = "input: {dynamic: {inputs: {a: {generate: {mapping: 'root = 1'}}}}}\noutput: {drop: {}}\n"


def stored(key: str, kind: ConditionType, reason: Reason) -> KvEntry:
    condition = Condition(type=kind, status="True", reason=reason, message="60 errors in 10 s")
    status = PipelineStatus(phase=Phase.RUNNING, conditions=[condition])
    return KvEntry(key, 1, status.model_dump_json().encode())


@pytest.mark.fault(133)
@pytest.mark.parametrize(
    ("kind", "reason", "result"),
    [
        (ConditionType.ERRORING, Reason.ERRORING, "fail"),
        (ConditionType.NOT_DELIVERING, Reason.NOT_DELIVERING, "warn"),
        (ConditionType.WARNING, Reason.FINITE_INPUT, "ok"),
    ],
)
def test_doctor_names_pipelines_whose_messages_fail(kind, reason, result):
    check = survey.troubled([stored("orders", kind, reason)])
    assert check.result == result
    assert ("orders" in check.message) is (result != "ok")


@pytest.mark.parametrize("count", [1, 500])
def test_the_line_of_doctor_is_bounded(count):
    many = [stored(f"p{n}", ConditionType.ERRORING, Reason.ERRORING) for n in range(count)]
    assert survey.troubled(many).message.count("60 errors") <= survey.MOST_TOLD


@pytest.mark.fault(131)
def test_lint_says_that_the_readiness_of_a_dynamic_input_can_not_be_judged(person):
    assert "(ReadinessUnknown)" in person.does("lint", person.file("d.yaml", DYNAMIC)).stderr
    plain = DYNAMIC.replace(
        "dynamic: {inputs: {a: {generate: {mapping: 'root = 1'}}}}",
        "generate: {mapping: 'root = 1'}",
    )
    assert "ReadinessUnknown" not in person.does("lint", person.file("e.yaml", plain)).stderr
