"""Lint, apply and dev warn of what will hardly do what it was written for, at its line of the file."""

from __future__ import annotations

import json

import pytest

CONFIG = "input: {generate: {interval: 1s, mapping: root = 1}}\noutput:\n  file: {path: out.txt}\n"


@pytest.mark.fault(122)
def test_lint_and_apply_say_it_at_the_line_of_the_file(person):
    block = "".join(f"  {line}\n" for line in CONFIG.splitlines())
    person.file("m.yaml", f"schema: 1\nid: m\nconfig: |\n{block}")
    person.file("p.yaml", CONFIG)
    person.file("j.json", json.dumps({"schema": 1, "id": "j", "config": CONFIG}, indent=1))
    for verb in ("lint", "apply"):
        said = " ".join(person.does(verb, "m.yaml", "p.yaml", "j.json").stderr.split())
        assert said.count("warning: ") == 3
        assert "m.yaml:6:18: " in said
        assert "p.yaml:3:16: " in said
        assert "j.json:4:12: " in said
        assert "(line 3 of the configuration)" in said


def test_a_folder_of_its_own_leaves_nothing_to_say(person):
    block = "".join(f"  {line}\n" for line in CONFIG.splitlines())
    text = f"schema: 1\nid: m\nexecutor_options: {{workdir: /tmp}}\nconfig: |\n{block}"
    assert "warning" not in person.does("lint", person.file("m.yaml", text)).stderr


@pytest.mark.fault(122)
def test_a_schema_file_that_is_not_there_is_told(person):
    steps = "pipeline:\n  processors:\n    - json_schema: {schema_path: 'file:///nowhere/s.json'}\n"
    said = person.does(
        "lint", person.file("s.yaml", CONFIG.replace("out.txt", "/tmp/o") + steps)
    ).stderr
    assert "s.yaml:6:34: " in " ".join(said.split())
    assert "is not there" in said


def test_of_replicas_that_do_not_share_lint_tells_the_recipe(person):
    block = "  input: {generate: {interval: 1s, mapping: root = 1}}\n  output: {drop: {}}\n"
    text = f"schema: 1\nid: m\nreplicas: 3\nconfig: |\n{block}"
    assert "each of 3 replicas makes every message" in " ".join(
        person.does("lint", person.file("m.yaml", text)).stderr.split()
    )


@pytest.mark.parametrize(
    "subject", [">", "*.>", "*", "$SRV.>", "_INBOX.>", "$JS.>", "$KV.b.>", "${WHAT}"]
)
def test_an_input_that_takes_what_clients_tell_each_other_is_told_at_its_line(person, subject):
    text = f"input:\n  nats: {{urls: ['${{NATS_URL}}'], subject: '{subject}'}}\noutput: {{drop: {{}}}}\n"
    said = " ".join(
        person.types("lint", "-e", "WHAT=>", person.file("p.yaml", text)).stderr.split()
    )
    assert "p.yaml:2:" in said
    assert "replies and requests of NATS's own clients" in said
    assert "(HardlyMeant)" in said


@pytest.mark.parametrize("subject", ["orders.>", "orders.*", "a_INBOX.b"])
def test_an_input_of_subjects_of_ones_own_is_not(person, subject):
    text = f"input:\n  nats: {{urls: ['${{NATS_URL}}'], subject: '{subject}'}}\noutput: {{drop: {{}}}}\n"
    assert "warning" not in person.does("lint", person.file("p.yaml", text)).stderr


@pytest.mark.parametrize(
    "subject", ["$KV.nexthos-pipelines.a", "$JS.API.STREAM.PURGE.X", "_INBOX.x"]
)
def test_an_output_into_what_nats_keeps_for_itself_is_told(person, subject):
    text = f"input: {{stdin: {{}}}}\noutput:\n  nats: {{urls: ['${{NATS_URL}}'], subject: '{subject}'}}\n"
    said = " ".join(person.types("lint", person.file("p.yaml", text)).stderr.split())
    assert "keep for themselves" in said
