"""ls, get, status: what is stored, what the controller reports, and where they part."""

from __future__ import annotations

import json
import signal

import pytest

from nexthos_shared.manifest.documents import read_documents

GOOD = {"status": "published", "version": "1"}


def condition(kind, value, reason, message="", **more):
    return {"type": kind, "status": value, "reason": reason, "message": message, **more}


def cells(line):
    return [cell for cell in line.split("  ") if cell]


def test_ls_tells_one_line_per_pipeline_sorted_by_id(person):
    person.put("b", GOOD | {"version": "2"})
    person.report(
        "b",
        "Running",
        ready=1,
        replicas=1,
        version="1",
        restarts=3,
        conditions=[
            condition("Valid", "False", "LintFailed", "field x", file="b/2", line=4, column=7)
        ],
    )
    person.put("a", GOOD)
    person.report("a", "Running", ready=2, replicas=2, version="1")
    result = person.does("ls")
    header, a, b = result.stdout.splitlines()
    assert header.split() == [
        "ID",
        "WANTED",
        "PHASE",
        "READY",
        "VERSION",
        "RESTARTS",
        "AGE",
        "REASON",
    ]
    assert a.split()[:6] == ["a", "published", "Running", "2/2", "1", "0"]
    assert "1 (want 2)" in b
    assert b.endswith("LintFailed: field x (b/2:4:7)")
    assert result.stderr == ""


def test_ls_tells_once_that_nobody_looked_yet(person):
    person.put("a", GOOD)
    person.put("b", GOOD)
    result = person.does("ls")
    assert [line.split()[2] for line in result.stdout.splitlines()[1:]] == ["-", "-"]
    assert result.stderr.count("not reconciled yet: is a controller running?") == 1
    assert person.does("ls", "-q").stderr == ""


def test_ls_shows_what_is_not_understood_what_is_stale_and_what_is_left_over(person):
    person.put("broken", b"not json")
    person.put("stale", GOOD)
    person.report("stale", "Running", revision=0, ready=1, replicas=1, version="1")
    person.put("leaving", GOOD)
    person.report("leaving", "Stopping")
    person.store(lambda store: store.pipelines.delete("leaving"))
    person.report("newer", "Running", revision=1)
    person.store(lambda store: store.statuses.put("newer", b'{"phase": "Dancing"}'))
    lines = {cells(ln)[0].strip(): ln for ln in person.does("ls").stdout.splitlines()}
    assert "?" in lines["broken"]
    assert "InvalidDefinition" in lines["broken"]
    assert "was not reconciled yet" in lines["stale"]
    assert lines["leaving"].split()[1:3] == ["deleted", "Stopping"]
    assert "a newer controller?" in lines["newer"]


def test_ls_selects_by_label_and_phase(person):
    person.put("a", GOOD | {"labels": {"team": "web", "tier": "1"}})
    person.put("b", GOOD | {"labels": {"team": "web"}})
    person.put("c", GOOD)
    person.report("a", "Running")
    person.report("b", "Paused")
    for args, found in (
        (("-l", "team=web"), "ab"),
        (("-l", "team=web,tier=1"), "a"),
        (("--phase", "paused"), "b"),
        (("--phase", "Running", "--phase", "Paused"), "ab"),
        (("--phase", "-"), "c"),
    ):
        out = person.does("ls", "-o", "name", *args).stdout.split()
        assert out == [f"pipeline/{key}" for key in found]
    assert "no pipeline matches" in person.does("ls", "-l", "team=x").stderr
    assert person.types("ls", "-l", "team").exit_code == 2


def test_wide_tells_where_it_runs(person):
    person.put("a", GOOD | {"labels": {"team": "web"}, "name": "First"})
    execution = {
        "name": "x",
        "uid": "1",
        "executor": "process",
        "place": "here",
        "replica": 0,
        "spec_hash": "0",
        "state": "running",
    }
    person.report("a", "Running", executions=[execution], executions_total=1)
    out = person.does("ls", "-o", "wide").stdout
    for word in ("EXECUTOR", "process", "here", "First", "team=web"):
        assert word in out


def test_an_empty_namespace_says_how_to_begin(person):
    result = person.does("ls")
    assert result.stdout == ""
    assert "nexthos apply" in result.stderr


def test_ls_watch_tells_what_changes_line_by_line(person):
    person.put("a", GOOD)
    process = person.spawn("ls", "-w")
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith("ID")
        assert process.stdout.readline().split()[:3] == ["a", "published", "-"]
        person.report("a", "Running", ready=1, replicas=1, version="1")
        assert process.stdout.readline().split()[:4] == ["a", "published", "Running", "1/1"]
        person.put("b", GOOD)
        assert process.stdout.readline().split()[:2] == ["b", "published"]
        person.store(lambda store: store.pipelines.delete("b"))
        assert process.stdout.readline().split() == ["b", "gone"]
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert errors.strip() == ""


@pytest.mark.parametrize("format", ["json", "yaml", "name"])
def test_what_goes_on_for_ever_is_not_one_document(person, format):
    assert person.types("ls", "-w", "-o", format).exit_code == 2


def test_get_prints_several_manifests_and_json_only_of_one(person):
    person.put("a", GOOD | {"stop_timeout": "10s"})
    person.put("b", {"status": "draft"})
    documents = read_documents(person.does("get", "a", "b").stdout)
    assert [d.value["id"] for d in documents] == ["a", "b"]
    assert documents[0].value == {"schema": 1, "id": "a", **GOOD, "stop_timeout": "10s"}
    assert person.types("get", "a", "b", "-o", "json").exit_code == 2
    assert json.loads(person.does("get", "b", "-o", "json").stdout)["status"] == "draft"


def test_get_refuses_what_it_could_not_give_back(person):
    person.put("odd", {"status": "published", "version": "1", "colour": "red"})
    result = person.types("get", "odd")
    assert result.exit_code == 1
    assert "colour" in result.stderr
    assert "nats kv get" in result.stderr
    person.put("a", GOOD)
    assert person.types("get", "a", "--config").exit_code == 1


def test_status_tells_conditions_and_executions(person):
    person.put("a", GOOD | {"description": "What it does", "env": {"SECRET": "shh"}})
    execution = {
        "name": "ns-a-0-12345678",
        "uid": "1",
        "executor": "docker",
        "place": "daemon",
        "replica": 0,
        "spec_hash": "0",
        "state": "running",
        "ready": False,
    }
    person.report(
        "a",
        "Starting",
        replicas=1,
        version="1",
        executions=[execution],
        executions_total=1,
        conditions=[condition("Ready", "False", "NotConnected", "no broker", since=1.0)],
        controller="host-1",
    )
    out = person.does("describe", "a").stdout
    for words in (
        "Starting, 0 of 1 ready",
        "NotConnected",
        "no broker",
        "ns-a-0-12345678",
        "What it does",
        "SECRET",
        "host-1",
        "see: nexthos explain NotConnected",
    ):
        assert words in out
    assert "shh" not in out


def test_status_says_that_it_is_old_where_no_controller_acts(person):
    person.put("a", GOOD)
    person.report("a", "Running", ready=1, replicas=1, version="1")
    assert "no controller acts now" in person.does("status", "a").stdout
    claim = {"holder": "host-1-abc", "host": "host-1", "since": 1.0, "ttl": 3.0, "life": "x"}
    person.store(lambda store: store.control.put("lease", json.dumps(claim).encode()))
    assert "no controller" not in person.does("status", "a").stdout


def test_status_of_nothing_is_not_found(person):
    result = person.types("status", "nowhere")
    assert result.exit_code == 1
    assert "NotFound" in result.stderr


CONTROLLER = {
    "controller": "host-1",
    "version": "0.1.0",
    "namespace": "x",
    "installation": "abc",
    "started_at": 1.0,
    "ready": True,
    "store": "nats://x",
    "engine": "/engine",
    "pipelines": 2,
    "phases": {"Running": 2},
    "queued": 0,
    "executors": [{"name": "process", "default": True, "reachable": True, "places": ["here"]}],
}


def test_status_without_id_asks_the_controller(person, controller):
    with controller(lambda *_: None, status=lambda _: dict(CONTROLLER)):
        out = person.does("status").stdout
    for words in ("host-1", "2 Running", "process (default)"):
        assert words in out


def test_without_a_controller_status_and_reconcile_say_how_to_start_one(person):
    for verb in ("status", "reconcile"):
        result = person.types(verb)
        assert result.exit_code == 1
        assert "nexthos-controller run" in result.stderr


def test_reconcile_asks_again_where_it_may_wait_for_longer_than_a_controller_does(
    person, controller
):
    asked = []

    def unsettled(request):
        asked.append(request["timeout"])
        outcome = {"id": "a", "phase": "Starting", "settled": False}
        return {"outcomes": [outcome], "unsettled": 1}

    with controller(lambda *_: None, reconcile=unsettled):
        result = person.types("reconcile", "a", "--timeout", "11m")
    assert result.exit_code == 4
    assert asked == ["5m", "5m", "1m"]
    assert "not settled within 660s" in result.stderr


def test_reconcile_prints_outcomes_and_judges_them(person, controller):
    asked = []

    def settled(request):
        asked.append(request)
        return {"outcomes": [{"id": "a", "phase": "Running", "settled": True}], "unsettled": 0}

    with controller(lambda *_: None, reconcile=settled):
        assert "pipeline/a settled: Running" in person.does("reconcile", "a").stdout
        person.does("reconcile", "--timeout", "500ms")
    assert asked == [{"id": "a", "timeout": "4s"}, {"timeout": "500ms"}]

    def unsettled(_):
        return {"outcomes": [{"id": "a", "phase": "Starting", "settled": False}], "unsettled": 1}

    with controller(lambda *_: None, reconcile=unsettled):
        late = person.types("reconcile")
    assert late.exit_code == 4
    assert "TimedOut" in late.stderr


def test_the_controllers_refusal_is_told_with_its_reason(person, controller):
    def refuse(_):
        headers = {"Nats-Service-Error-Code": "404", "Nats-Service-Error": "no pipeline 'a'"}
        return {"headers": headers, "code": 404, "reason": "NotFound", "message": "no pipeline 'a'"}

    with controller(lambda *_: None, reconcile=refuse):
        result = person.types("reconcile", "a")
    assert result.exit_code == 1
    assert "error: no pipeline 'a' (NotFound)" in result.stderr
