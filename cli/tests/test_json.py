"""`-o json`: one document on stdout that matches its schema, errors as JSON on stderr."""

from __future__ import annotations

import json

import jsonschema
import pytest

from nexthos_cli.schemas import models

GOOD = {"status": "published", "version": "1"}
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
    "queued": 0,
    "executors": [],
}


def schema(person, name):
    return json.loads(person.does("schema", name).stdout)


def test_every_schema_is_a_schema(person):
    names = person.does("schema").stdout.split()
    assert names == list(models())
    for name in names:
        jsonschema.Draft202012Validator.check_schema(schema(person, name))
    assert person.types("schema", "output-lss").exit_code == 1


def test_apply(person):
    file = person.file("orders.yaml")
    person.file("x.yaml", "services: {}\n")
    done = person.json("apply", file, "x.yaml", schema="output-apply")
    assert done["pipelines"][0]["action"] == "created"
    assert done["skipped"][0]["file"] == "x.yaml"
    again = person.json("apply", file, "-e", "A=secret", "--dry-run", schema="output-apply")
    assert again["dry_run"] is True
    assert again["pipelines"][0]["changes"] == [{"field": "env.A", "before": None, "after": "${A}"}]


def test_apply_that_fails_prints_nothing_and_its_errors_as_json(person):
    file = person.file("bad.yaml", "schema: 1\nid: x\nreplicas: 0\n")
    skipped = person.file("x.yaml", "services: {}\n")
    result = person.types("apply", file, skipped, "-o", "json")
    assert result.exit_code == 1
    assert result.stdout == ""
    errors = json.loads(result.stderr)
    jsonschema.validate(errors, schema(person, "output-error"))
    assert errors["errors"][0]["field"] == "replicas"
    assert errors["errors"][0]["line"] == 3


@pytest.mark.parametrize("verb", ["publish", "pause", "draft", "rm"])
def test_acting(person, verb):
    person.put("a", {"status": "paused" if verb == "publish" else "published", "version": "1"})
    done = person.json(verb, "a", schema=f"output-{verb}")
    assert done["pipelines"][0]["id"] == "a"
    assert done["pipelines"][0]["action"] != "unchanged"


@pytest.mark.parametrize(
    ("verb", "args", "action"),
    [("scale", ("--replicas", "3"), "scaled"), ("restart", (), "restarted")],
)
def test_scaling_and_restarting(person, verb, args, action):
    person.put("a", GOOD)
    done = person.json(verb, "a", *args, schema=f"output-{verb}")
    assert [(p["action"], p["revision"]) for p in done["pipelines"]] == [(action, 2)]


def test_history_and_rollback(person):
    person.does("apply", person.file("a.yaml"))
    person.does("apply", person.file("a.yaml", "output: {drop: {}}\n"))
    kept = person.json("history", "a", schema="output-history")["revisions"]
    assert [(r["revision"], r["first"]) for r in kept] == [(1, True), (2, False)]
    assert [c["field"] for c in kept[1]["changes"]] == ["version"]
    asked = person.json("rollback", "a", "--dry-run", schema="output-rollback")
    assert (asked["back_to"], asked["revision"], asked["dry_run"]) == (1, 0, True)
    done = person.json("rollback", "a", schema="output-rollback")
    assert (done["back_to"], done["before"], done["revision"]) == (1, 2, 3)


def test_rollout(person):
    person.put("a", GOOD)
    older = {"type": "Outdated", "status": "True", "reason": "Outdated", "message": "engine 1"}
    person.report("a", "Running", ready=1, replicas=1, version="1", conditions=[older])
    asked = person.json("rollout", "--dry-run", schema="output-rollout")
    assert [(p["result"], p["message"]) for p in asked["pipelines"]] == [("skipped", "engine 1")]
    late = person.json("rollout", "-y", "--timeout", "100ms", schema="output-rollout", code=1)
    assert [(p["result"], p["reason"]) for p in late["pipelines"]] == [("failed", "TimedOut")]


def test_auth(person):
    for role in (["controller"], ["viewer"], ["author"], ["author", "a"], ["runner", "a"]):
        done = person.json("auth", *role, schema="output-auth")
        assert done["role"] == role[0]
        assert done["user"].startswith(f"{person.namespace}-{role[0]}")
        assert done["publish"]
        assert done["subscribe"]


def test_abandon(person):
    done = person.json("abandon", "m1", "--force", "-y", schema="output-abandon")
    assert done == {"place": "m1", "action": "abandoned", "pipelines": []}
    again = person.json("abandon", "m1", "--undo", schema="output-abandon")
    assert again["action"] == "undone"


def test_ls(person):
    person.put("a", GOOD)
    person.put("b", b"broken")
    person.report("a", "Running", ready=1, replicas=1, version="1")
    lines = person.json("ls", schema="output-ls")["pipelines"]
    assert [ln["id"] for ln in lines] == ["a", "b"]
    assert lines[0]["phase"] == "Running"
    assert lines[1]["reason"] == "InvalidDefinition"
    assert person.json("ls", "-l", "x=y", schema="output-ls") == {"pipelines": []}


def test_get_is_a_manifest(person):
    person.does("apply", person.file("a.yaml"))
    manifest = person.json("get", "a", "--config", schema="output-get")
    assert manifest["config"].startswith("input:")
    jsonschema.validate(manifest, schema(person, "manifest"))


def test_status(person, controller):
    person.put("a", GOOD)
    person.report("a", "Running", ready=1, replicas=1, version="1")
    assert person.json("status", "a", schema="output-status")["status"]["phase"] == "Running"
    with controller(lambda *_: None, status=lambda _: dict(CONTROLLER)):
        assert person.json("status", schema="output-status")["controller"] == "host-1"


def test_wait(person):
    person.put("a", GOOD)
    late = person.json("wait", "a", "--timeout", "100ms", schema="output-wait", code=4)
    assert late["pipelines"][0]["result"] == "timed_out"
    person.report("a", "Running", ready=1, replicas=1, version="1")
    there = person.json("wait", "a", schema="output-wait")
    assert there["pipelines"][0]["result"] == "reached"


def test_lint(person):
    good = person.file("good.yaml")
    bad = person.file("bad.yaml", "input: {stdin: {}}\nnonsense: 1\noutput: {drop: {}}\n")
    odd = person.file("Not.An.Id.yaml")
    done = person.json("lint", good, bad, odd, schema="output-lint", code=1)
    assert {f["file"]: f["ok"] for f in done["files"]} == {good: True, bad: False, odd: False}
    assert {p.get("line") for p in done["problems"]} == {None, 2}


def test_reconcile(person, controller):
    answer = {"outcomes": [{"id": "a", "phase": "Running", "settled": True}], "unsettled": 0}
    with controller(lambda *_: None, reconcile=lambda _: dict(answer)):
        assert person.json("reconcile", schema="output-reconcile")["unsettled"] == 0


def test_explain(person):
    assert len(person.json("explain", schema="output-explain")["reasons"]) > 40
    assert len(person.json("explain", "ready", schema="output-explain")["reasons"]) == 1


def test_doctor(person, controller):
    ill = person.json("doctor", schema="output-doctor", code=1)
    assert ill["healthy"] is False
    with controller(lambda *_: None, status=lambda _: dict(CONTROLLER)):
        well = person.json("doctor", schema="output-doctor")
    assert well["healthy"] is True


def test_setup(person):
    done = person.json("setup", schema="output-setup")
    assert done["created"] == []
    assert len(done["existing"]) == 5


@pytest.mark.parametrize(
    ("args", "code"),
    [(("get", "nowhere"), 1), (("ls", "--nonsense"), 2), (("nonsense",), 2), (("status",), 1)],
)
def test_errors_are_json_on_stderr(person, args, code):
    result = person.types(*args, "-o", "json")
    assert result.exit_code == code
    assert result.stdout == ""
    document = json.loads(result.stderr)
    jsonschema.validate(document, schema(person, "output-error"))
    assert document["exit_code"] == code


def test_yaml_is_the_same_document(person):
    from nexthos_shared.manifest.documents import read_documents

    person.put("a", GOOD)
    told = read_documents(person.does("ls", "-o", "yaml").stdout)[0].value["pipelines"][0]
    assert told["id"] == "a"
    assert told["wanted_version"] == "1"


def test_the_manifest_schema_agrees_with_what_apply_takes(person):
    checked = jsonschema.Draft202012Validator(schema(person, "manifest"))
    good = {"schema": 1, "id": "a", "config": "x", "resources": {"memory": "256Mi", "cpu": 0.5}}
    assert checked.is_valid(good)
    for bad in ({"id": "a"}, good | {"colour": 1}, good | {"replicas": 0}, good | {"schema": 2}):
        assert not checked.is_valid(bad)
