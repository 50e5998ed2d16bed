"""--wait and `wait` judge the state, not the write."""

from __future__ import annotations

import json

import pytest

from nexthos_cli.wait.wait import Target, judge
from nexthos_shared.model import PipelineStatus
from nexthos_shared.model.stored import decode

GOOD = {"status": "published", "version": "1"}


def condition(kind, value, reason, message=""):
    return {"type": kind, "status": value, "reason": reason, "message": message}


def status(phase, revision=5, **more):
    value = {"phase": phase, "observed_revision": revision, "version": "1", **more}
    return decode(PipelineStatus, json.dumps(value))


UPDATING = [condition("Progressing", "True", "Updating")]
REFUSED = [condition("Valid", "False", "LintFailed", "field x")]
BACK = [
    condition("Progressing", "False", "RolledBack", "version 2: no broker; version 1 runs again")
]
TRIED = [condition("Progressing", "False", "ReadyTimeout", "it stays")]
READY = {"ready": 1, "replicas": 1}


@pytest.mark.parametrize(
    ("goal", "report", "result"),
    [
        ("ready", status("Running", **READY), "reached"),
        ("ready", status("Running", 6, **READY | {"version": "2"}), "reached"),
        ("ready", status("Running", 4, **READY), "on its way"),
        ("ready", status("Running", **READY | {"version": "0"}), "on its way"),
        ("ready", status("Running", ready=1, replicas=2), "on its way"),
        ("ready", status("Running", ready=0, replicas=0), "on its way"),
        ("ready", status("Running", conditions=UPDATING, **READY), "on its way"),
        ("ready", status("Running", conditions=REFUSED, **READY), "failed"),
        ("ready", status("Running", conditions=BACK, **READY), "failed"),
        ("ready", status("Starting", conditions=BACK), "failed"),
        ("ready", status("Running", 4, conditions=BACK, **READY), "on its way"),
        ("ready", status("Starting", conditions=TRIED), "on its way"),
        ("paused", status("Paused", conditions=BACK), "reached"),
        ("ready", status("Starting"), "on its way"),
        ("ready", status("Unknown"), "on its way"),
        ("ready", status("Paused"), "on its way"),
        ("ready", status("Completed"), "reached"),
        ("ready", status("Invalid"), "failed"),
        ("ready", status("Invalid", 4), "on its way"),
        ("ready", status("Failed"), "failed"),
        ("ready", status("CrashLoop"), "failed"),
        ("ready", None, "on its way"),
        ("completed", status("Running", **READY), "on its way"),
        ("completed", status("Completed"), "reached"),
        ("completed", status("Failed"), "failed"),
        ("paused", status("Paused"), "reached"),
        ("paused", status("Paused", conditions=REFUSED), "reached"),
        ("paused", status("Stopping"), "on its way"),
        ("paused", status("Invalid"), "failed"),
        ("draft", status("Draft"), "reached"),
        ("draft", status("Stopping"), "on its way"),
        ("deleted", status("Stopping"), "on its way"),
        ("deleted", None, "reached"),
    ],
)
def test_the_state_is_judged_for_the_revision_that_was_written(goal, report, result):
    assert judge(Target(goal, 5, "1"), report).result == result


def runs(_, entry):
    """A controller under which everything runs, pauses and goes at once."""
    if entry.value is None:
        return None
    wanted = json.loads(entry.value)
    phase = {"published": "Running", "paused": "Paused", "draft": "Draft"}[wanted["status"]]
    up = 1 if phase == "Running" else 0
    return {
        "phase": phase,
        "observed_revision": entry.revision,
        "ready": up,
        "replicas": up,
        "version": wanted.get("version"),
    }


def test_apply_publish_pause_draft_rm_wait_for_the_state(person, controller):
    with controller(runs):
        out = person.does("apply", person.file("orders.yaml"), "--wait").stdout
        assert "pipeline/orders ready after " in out
        for verb, words in (("pause", "paused"), ("publish", "ready"), ("draft", "draft")):
            assert f"pipeline/orders {words} after" in person.does(verb, "orders", "--wait").stdout
        person.does("rm", "orders", "--wait")
    assert person.store(lambda store: store.statuses.get("orders")).value is None


def test_an_unchanged_pipeline_is_waited_for_too(person, controller):
    file = person.file("orders.yaml")
    with controller(runs):
        person.does("apply", file, "--wait")
        out = person.does("apply", file, "--wait").stdout
    assert "unchanged" in out
    assert "ready after" in out


def test_what_can_not_come_true_fails_at_once_with_the_reason_and_place(person, controller):
    def refuses(_, entry):
        said = condition("Valid", "False", "LintFailed", "field x") | {"file": "a/1", "line": 3}
        return {"phase": "Invalid", "observed_revision": entry.revision, "conditions": [said]}

    with controller(refuses):
        result = person.types("apply", person.file("a.yaml"), "--wait", "--timeout", "30s")
    assert result.exit_code == 1
    assert "error: a/1:3: pipeline a: Invalid: field x (LintFailed)" in result.stderr


def test_an_update_that_was_rolled_back_fails_at_once_with_the_story_in_one_sentence(
    person, controller
):
    words = (
        "version 2 (revision 7): not ready within 30s: no broker; version 1 (revision 5) runs again"
    )

    def gives_way(_, entry):
        unready = condition("Ready", "False", "Starting", "it is being started")
        back = condition("Progressing", "False", "RolledBack", words)
        return {
            "phase": "Starting",
            "observed_revision": entry.revision,
            "replicas": 1,
            "conditions": [unready, back],
        }

    with controller(gives_way):
        result = person.types("apply", person.file("a.yaml"), "--wait", "--timeout", "30s")
    assert result.exit_code == 1
    assert f"error: pipeline a: rolled back: {words} (RolledBack)" in result.stderr


def test_what_is_not_there_in_time_is_four_with_what_was_seen_last(person, controller):
    def starts(_, entry):
        said = condition("Ready", "False", "Starting", "not connected")
        return {
            "phase": "Starting",
            "observed_revision": entry.revision,
            "replicas": 1,
            "conditions": [said],
        }

    with controller(starts):
        file = person.file("a.yaml")
        result = person.types("apply", file, "--wait", "--timeout", "3s")
    assert result.exit_code == 4, result.output
    last = "last: Starting 0/1 (Starting: not connected) (TimedOut)"
    assert f"pipeline a: not ready within 3s; {last}" in result.stderr


def test_without_a_controller_waiting_asks_whether_one_runs(person):
    person.put("a", GOOD)
    result = person.types("wait", "a", "--timeout", "3s")
    assert result.exit_code == 4, result.output
    assert "is a controller running?" in result.stderr


def test_progress_is_told_when_it_is_news_and_only_then(person):
    revision = person.put("a", GOOD)
    process = person.spawn("wait", "a", "--timeout", "20s")
    assert process.stderr is not None
    assert "no status yet" in process.stderr.readline()
    starting = condition("Ready", "False", "Starting", "one")
    person.report("a", "Starting", replicas=1, conditions=[starting])
    assert "Starting 0/1 (Starting: one)" in process.stderr.readline()
    person.report("a", "Starting", replicas=1, conditions=[starting], updated_at=9.0)
    person.report("a", "Running", revision=revision, ready=1, replicas=1, version="1")
    out, errors = process.communicate(timeout=10)
    assert process.returncode == 0
    assert errors == ""
    assert out.startswith("pipeline/a ready after")


def test_several_are_waited_for_and_failures_come_before_lateness(person):
    for key, phase in (("a", "Running"), ("b", "Failed"), ("c", "Starting")):
        person.put(key, GOOD)
        person.report(key, phase, ready=1, replicas=1, version="1")
    result = person.types("wait", "--all", "--timeout", "3s")
    assert result.exit_code == 1
    assert "pipeline/a ready" in result.stdout
    assert "pipeline b: Failed" in result.stderr
    assert "pipeline c: not ready within" in result.stderr


def test_waiting_for_a_deletion_of_what_is_gone_is_done_at_once(person):
    assert person.does("wait", "a", "--for", "deleted").exit_code == 0
    person.put("c", GOOD)
    stored = person.types("wait", "c", "--for", "deleted", "--timeout", "3s")
    assert stored.exit_code == 4
    assert "its definition is still stored" in stored.stderr
    person.report("b", "Stopping", revision=1)
    assert person.types("wait", "b", "--for", "deleted", "--timeout", "200ms").exit_code == 4


def test_waiting_for_what_is_not_stored_is_not_found(person):
    assert person.types("wait", "a").exit_code == 1
    assert person.types("wait", "a", "--for", "happiness").exit_code == 2
    assert person.types("wait", "a", "--timeout", "soon").exit_code == 2
