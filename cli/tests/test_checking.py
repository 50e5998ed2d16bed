"""lint, doctor, setup."""

from __future__ import annotations

import pytest

from nexthos_cli.doctor.checks import covers, may_publish
from nexthos_testing.nats import NatsServer

PLAIN = "input: {stdin: {}}\noutput: {drop: {}}\n"
RESTRICTED = """
accounts: {A: {jetstream: enabled, users: [
  {user: all, password: x},
  {user: reader, password: x, permissions: {publish: {allow: ["$JS.API.STREAM.INFO.>",
   "$JS.API.DIRECT.GET.>", "$JS.API.CONSUMER.>", "$JS.API.INFO", "$SYS.REQ.USER.INFO", "*.svc.>"]}}}
]}}
"""


def test_lint_tells_what_is_fine_and_where_what_is_not(person):
    good = person.file("good.yaml", PLAIN)
    bad = person.file("bad.yaml", "input: {stdin: {}}\nnonsense: 1\noutput: {kafka_franz: {}}\n")
    result = person.types("lint", good, bad)
    assert result.exit_code == 1
    assert f"{good}: ok" in result.stdout
    assert "bad.yaml:3" in result.stderr
    assert person.types("lint").exit_code == 2


def test_lint_needs_no_server(person):
    person.env["NATS_URL"] = "nats://127.0.0.1:1"
    text = "input: {nats: {urls: ['${NATS_URL}'], subject: x}}\noutput: {drop: {}}\n"
    result = person.does("lint", person.file("some_config-v2.yaml", text))
    assert "some_config-v2.yaml: ok" in result.stdout


@pytest.mark.fault(118)
def test_lint_and_apply_refuse_the_same_names(person):
    person.file("one/same.yaml", PLAIN)
    person.file("two/same.yaml", PLAIN)
    person.file("Some.Config.v2.yaml", PLAIN)
    for verb in ("lint", "apply"):
        doubled = person.types(verb, "one", "two")
        assert doubled.exit_code == 1
        assert "pipeline same is defined here and in one/same.yaml" in doubled.stderr
        unnamed = person.types(verb, "Some.Config.v2.yaml")
        assert unnamed.exit_code == 1
        assert "InvalidName" in unnamed.stderr
        nameless = person.types(verb, "-", input=PLAIN)
        assert nameless.exit_code == 1
        assert "id: is missing" in nameless.stderr


def test_lint_checks_manifests_with_their_own_environment(person):
    config = "  input: {stdin: {}}\n  output: {file: {path: '${PLACE}'}}\n"
    text = f"schema: 1\nid: a\nenv: {{PLACE: x}}\nconfig: |\n{config}"
    person.does("lint", person.file("m.yaml", text))
    refused = person.types("lint", person.file("m.yaml", text.replace("PLACE: x", "OTHER: x")))
    assert refused.exit_code == 1
    assert "m.yaml:6:" in refused.stderr


COPY = "input: {file: {paths: [x]}}\noutput: {drop: {}}\n"


@pytest.mark.fault(75)
def test_a_service_whose_input_ends_is_warned_of_and_applied_all_the_same(person):
    for verb in ("lint", "apply"):
        result = person.does(verb, person.file("copy.yaml", COPY))
        assert result.stderr.count("warning: ") == 1
        assert "copy.yaml: lifecycle: is `service`, and the input is known to end" in result.stderr
        assert "(FiniteInput)" in result.stderr
    told = person.json("lint", "copy.yaml", schema="output-lint")
    assert [(w["reason"], w["field"]) for w in told["warnings"]] == [("FiniteInput", "lifecycle")]
    again = person.json("apply", "copy.yaml", schema="output-apply")
    assert [w["file"] for w in again["warnings"]] == ["copy.yaml"]
    stored = f'schema: 1\nid: copy\nversion: "{person.stored("copy")["version"]}"\n'
    assert "FiniteInput" in person.does("apply", "-", input=stored).stderr


def test_a_job_whose_input_ends_and_a_service_whose_does_not_are_fine(person):
    text = "schema: 1\nid: a\nlifecycle: job\nconfig: |\n  " + COPY.replace("\n", "\n  ")
    endless = COPY.replace("file: {paths: [x]}", "generate: {mapping: 'root = 1', interval: 1s}")
    result = person.does("lint", person.file("job.yaml", text), person.file("b.yaml", endless))
    assert "warning" not in result.stderr


def test_lint_without_an_engine_fails_and_says_what_to_do(person):
    person.env["NEXTHOS_ENGINE"] = "/nowhere/engine"
    result = person.types("lint", person.file("good.yaml", PLAIN))
    assert result.exit_code == 1
    assert "EngineMissing" in result.stderr


def test_doctor_tells_each_thing_with_its_remedy_and_fails_without_a_controller(person):
    result = person.types("doctor")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    for name in (
        "engine",
        "connection",
        "jetstream",
        "permissions",
        "buckets",
        "settings",
        "clock",
    ):
        assert any(line.startswith("ok") and f" {name}:" in line for line in lines), result.stdout
    assert any(line.startswith("fail") and "controller" in line for line in lines)
    assert any(line.strip().startswith("->") for line in lines)


def test_doctor_without_a_server_fails_at_the_connection_and_still_tells_of_the_engine(person):
    result = person.types("doctor", "-s", "nats://127.0.0.1:1")
    assert result.exit_code == 1
    assert "fail  connection" in result.stdout
    assert " engine:" in result.stdout


def test_doctor_names_missing_buckets_and_setup_creates_them(person):
    ill = person.types("doctor", "-n", "fresh1")
    assert "fail  buckets: namespace fresh1 has no buckets" in ill.stdout
    made = person.does("setup", "-n", "fresh1").stdout
    assert made.count("bucket/") == 4
    assert "stream/fresh1-events created" in made
    assert made.count("created") == 5
    assert "ok    buckets" in person.types("doctor", "-n", "fresh1").stdout
    person.store(lambda store: store.link.js.delete_key_value(store.names.status))
    told = person.types("doctor").stdout
    assert f"missing: {person.namespace}-status" in told
    assert "the controller writes it anew from what runs" in told
    result = person.does("setup")
    assert f"bucket/{person.namespace}-status created" in result.stdout
    assert "beside others" in result.stderr
    assert person.types("setup", "--replicas", "9").exit_code == 2


async def test_doctor_tells_what_credentials_may_not_do(person, tmp_path, monkeypatch):
    import asyncio

    async with NatsServer(tmp_path / "restricted", config=RESTRICTED) as server:
        person.env["NATS_URL"] = server.url
        await asyncio.to_thread(person.does, "setup", "--user", "all", "--password", "x")
        told = await asyncio.to_thread(
            person.types, "doctor", "--user", "reader", "--password", "x"
        )
        assert "warn  permissions: may not publish" in told.stdout
        assert f"$KV.{person.namespace}-pipelines.x" in told.stdout
        args = ("apply", person.file("a.yaml", PLAIN), "--user", "reader", "--password", "x")
        refused = await asyncio.to_thread(person.types, *args)
        assert refused.exit_code == 1
        assert "NotPermitted" in refused.stderr
        bad = await asyncio.to_thread(person.types, "ls", "--user", "all", "--password", "wrong")
        assert bad.exit_code == 1
        assert "NotPermitted" in bad.stderr


@pytest.mark.parametrize(
    ("pattern", "subject", "result"),
    [
        (">", "a", True),
        ("a.>", "a", False),
        ("a.>", "a.b.c", True),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.*.c", "a.b.c", True),
        ("a.b", "a", False),
    ],
)
def test_subjects_match_as_nats_matches_them(pattern, subject, result):
    assert covers(pattern, subject) is result


def test_permissions_are_judged_as_nats_judges_them():
    assert may_publish("a", {})
    assert may_publish("a.b", {"allow": ["a.>"]})
    assert not may_publish("b", {"allow": ["a.>"]})
    assert not may_publish("a.b", {"deny": ["a.b"]})
