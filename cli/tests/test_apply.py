"""`nexthos apply`: files in, entries and objects out, and an honest line for each."""

from __future__ import annotations

import json

import pytest

from nexthos_shared import names

PLAIN = """\
input:
  generate: {mapping: 'root = "hello"', interval: 1s}
output:
  drop: {}
"""
MANIFEST = """\
schema: 1
id: orders
description: What it does
labels: {team: web}
replicas: 2
config: |
  input:
    generate: {mapping: 'root = "hello"', interval: 1s}
  output:
    drop: {}
"""


def test_a_plain_file_is_published_under_its_name_with_version_and_digest(person):
    result = person.does("apply", person.file("Access_Log.yaml"))
    version = names.version_of(PLAIN.encode())
    assert f"pipeline/access-log created (version {version}, published)" in result.stdout
    assert person.stored("access-log") == {
        "status": "published",
        "version": version,
        "id": "access-log",
        "schema": 1,
        "digest": names.digest_of(PLAIN.encode()),
    }
    content = person.store(lambda store: store.configs.get("access-log", version))
    assert content == PLAIN.encode()


def test_the_same_file_again_is_unchanged_and_writes_nothing(person):
    file = person.file("orders.yaml", MANIFEST)
    person.does("apply", file)
    before = person.revision("orders")
    assert "pipeline/orders unchanged" in person.does("apply", file).stdout
    assert person.revision("orders") == before


def test_what_changes_is_told_field_by_field(person):
    person.does("apply", person.file("orders.yaml", MANIFEST), "-e", "REGION=eu")
    changed = MANIFEST.replace("replicas: 2", "replicas: 3").replace("team: web", "team: shop")
    out = person.does("apply", person.file("orders.yaml", changed.replace("hello", "bye"))).stdout
    assert "pipeline/orders configured (" in out
    for part in ("version ", " -> ", "replicas 2 -> 3", "labels.team web -> shop"):
        assert part in out
    assert "env.REGION removed" in out
    assert "eu" not in out


def test_a_folder_is_applied_with_what_is_no_pipeline_named_as_skipped(person):
    person.file("p/orders.yaml")
    person.file("p/deep/clicks.yml")
    person.file("p/manifest.yaml", "schema: 1\nid: other\nconfig_file: other/engine.yaml\n")
    person.file("p/other/engine.yaml", PLAIN)
    person.file("p/orders_benthos_test.yaml", "tests: []\n")
    person.file("p/resources.yaml", "cache_resources:\n  - label: x\n    memory: {}\n")
    person.file("p/compose.yaml", "services: {}\n")
    person.file("p/notes.txt", "nothing")
    result = person.does("apply", "-f", str(person.folder / "p"))
    created = {line.split()[0] for line in result.stdout.splitlines()}
    assert created == {"pipeline/orders", "pipeline/clicks", "pipeline/other"}
    for name, reason in (
        ("orders_benthos_test.yaml", "unit tests"),
        ("resources.yaml", "only resources"),
        ("compose.yaml", "neither a manifest"),
        ("engine.yaml", "the configuration of pipeline other"),
    ):
        assert any(name in ln and reason in ln for ln in result.stderr.splitlines()), name


def test_several_documents_and_json_and_stdin_are_taken(person):
    two = MANIFEST + "---\n" + MANIFEST.replace("id: orders", "id: clicks")
    out = person.does("apply", "-", input=two).stdout
    assert "pipeline/orders created" in out
    assert "pipeline/clicks created" in out
    text = json.dumps({"schema": 1, "id": "third", "config": PLAIN}, indent="\t")
    assert "pipeline/third created" in person.does("apply", person.file("t.json", text)).stdout


def test_nothing_is_applied_if_one_fails_and_every_error_is_told(person):
    person.file("p/good.yaml")
    person.file("p/a.yaml", "input:\n  generate: {mapping: 'root = 1'}\n  nonsense: 1\n")
    person.file("p/b.yaml", "schema: 1\nid: b\nversion: 3\ncolour: red\nreplicas: many\n")
    result = person.types("apply", "p")
    assert result.exit_code == 1
    assert person.stored("good") is None
    for place in (
        "p/a.yaml:3:1:",
        "p/b.yaml:3:10: version",
        "p/b.yaml:4:1: colour",
        "p/b.yaml:5:11",
    ):
        assert place in result.stderr, result.stderr
    assert "see: nexthos explain LintFailed" in result.stderr
    assert "see: nexthos explain InvalidDefinition" in result.stderr


def test_a_lint_error_in_a_block_names_the_line_of_the_manifest(person):
    text = MANIFEST.replace("  output:\n    drop: {}", "  output:\n    drop: {}\n    nonsense: 1")
    result = person.types("apply", person.file("orders.yaml", text))
    assert result.exit_code == 1
    line = text.splitlines().index("    nonsense: 1") + 1
    assert f"orders.yaml:{line}:" in result.stderr


def test_without_lint_the_controller_is_left_to_judge(person):
    file = person.file("orders.yaml", PLAIN + "nonsense: 1\n")
    assert person.types("apply", file).exit_code == 1
    assert "created" in person.does("apply", "--no-lint", file).stdout


def test_lint_sees_the_variables_that_the_pipeline_will_get(person):
    text = PLAIN.replace('"hello"', '"${GREETING} ${NATS_URL} ${NEXTHOS_PIPELINE}"')
    file = person.file("orders.yaml", text)
    refused = person.types("apply", file)
    assert refused.exit_code == 1
    assert "GREETING" in refused.stderr
    assert "VariableMissing" in refused.stderr
    person.does("apply", file, "-e", "GREETING=hello")
    assert person.stored("orders")["env"] == {"GREETING": "hello"}


def test_variables_come_from_options_files_and_here_and_are_merged_over_the_manifest(person):
    env_file = person.file("vars", "# a comment\n\nA=file\nB=file=with=signs\n")
    person.env["C"] = "from here"
    text = MANIFEST + "env: {A: manifest, D: manifest}\n"
    args = ("--env-file", env_file, "-e", "A=option", "-e", "C")
    person.does("apply", person.file("o.yaml", text), *args)
    assert person.stored("orders")["env"] == {
        "A": "option",
        "B": "file=with=signs",
        "C": "from here",
        "D": "manifest",
    }


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("-e", "1A=x"), "environment variable '1A'"),
        (("-e", "NOT_SET_HERE"), "NOT_SET_HERE"),
        (("-e", "NEXTHOS_VERSION=9"), "env.NEXTHOS_VERSION"),
        (("--env-file", "nowhere"), "nowhere"),
    ],
)
def test_a_bad_variable_is_named_and_nothing_is_applied(person, args, words):
    result = person.types("apply", person.file("orders.yaml"), *args)
    assert result.exit_code == 1
    assert words in result.stderr
    assert person.stored("orders") is None


def test_what_stands_alone_in_a_file_of_variables_is_not_repeated(person):
    """It may be a value whose name was forgotten."""
    env_file = person.file("vars", "A=1\nhunter2\n")
    result = person.types("apply", person.file("orders.yaml"), "--env-file", env_file)
    assert result.exit_code == 1
    assert "vars:2: a name without a value" in result.stderr
    assert "hunter2" not in result.stdout + result.stderr


def test_a_pause_survives_a_file_that_says_nothing_of_status(person):
    file = person.file("orders.yaml")
    person.does("apply", file)
    person.does("pause", "orders")
    assert "unchanged" in person.does("apply", file).stdout
    person.does("apply", person.file("orders.yaml", PLAIN.replace("hello", "bye")))
    assert person.stored("orders")["status"] == "paused"


def test_undoing_what_an_operator_did_is_told(person):
    file = person.file("o.yaml", MANIFEST + "status: published\n")
    person.does("apply", file)
    first = person.stored("orders")["version"]
    person.does("pause", "orders")
    out = person.does("apply", "--dry-run", file).stdout
    assert "status paused -> published); undoes `nexthos pause` (dry run)" in out
    assert person.stored("orders")["status"] == "paused"
    person.does("apply", person.file("o.yaml", MANIFEST.replace("hello", "bye")))
    person.does("publish", "orders", "--version", first)
    out = person.does("apply", person.file("o.yaml", MANIFEST.replace("hello", "bye"))).stdout
    assert "goes back to an earlier version" in out
    person.put("orders", person.stored("orders") | {"replicas": 7})
    out = person.does("apply", person.file("o.yaml", MANIFEST.replace("hello", "bye"))).stdout
    assert "replicas 7 -> 2); undoes a scaling to 7" in out


def test_an_omitted_restart_nonce_stays(person):
    file = person.file("o.yaml", MANIFEST)
    person.does("apply", file)
    person.put("orders", person.stored("orders") | {"restart_nonce": 4})
    assert "unchanged" in person.does("apply", file).stdout
    out = person.does("apply", person.file("o.yaml", MANIFEST + "restart_nonce: 5\n")).stdout
    assert "restart_nonce 4 -> 5" in out
    assert person.stored("orders")["restart_nonce"] == 5


@pytest.mark.parametrize("with_config", [True, False])
def test_what_get_prints_is_taken_back_unchanged(person, with_config):
    person.does("apply", person.file("o.yaml", MANIFEST), person.file("plain.yaml"))
    args = ("--config",) if with_config else ()
    text = person.does("get", "--all", *args).stdout
    assert ("config: |" in text) is with_config
    out = person.does("apply", "-f", "-", input=text).stdout
    assert sorted(out.splitlines()) == ["pipeline/orders unchanged", "pipeline/plain unchanged"]


def test_what_raw_kv_put_is_given_back_unchanged_too(person):
    person.store(lambda store: store.configs.put("raw", "1", PLAIN.encode()))
    person.put(
        "raw", {"status": "paused", "version": "1", "env": {"A": "true"}, "labels": {"n": "1"}}
    )
    for args in ((), ("--config",), ("-o", "json")):
        text = person.does("get", "raw", *args).stdout
        assert "pipeline/raw unchanged" in person.does("apply", "-", input=text).stdout, text


@pytest.mark.parametrize(
    "content",
    [
        "input: {stdin: {}}\r\noutput: {drop: {}}\r\n",
        "input: {stdin: {}}\noutput: {drop: {}}",
        "# é ☃\n\n\ninput: {stdin: {}}\noutput: {drop: {}}\n\n\n",
        "  \ninput: {stdin: {}}\noutput: {drop: {}} \n",
    ],
)
def test_any_configuration_survives_get_and_apply_byte_for_byte(person, content):
    person.does("apply", person.file("orders.yaml", content))
    text = person.does("get", "orders", "--config").stdout
    assert "pipeline/orders unchanged" in person.does("apply", "-", input=text).stdout


def test_an_edited_configuration_gets_a_new_version_by_itself(person):
    person.does("apply", person.file("orders.yaml"))
    text = person.does("get", "orders", "--config").stdout.replace("hello", "bye")
    out = person.does("apply", "-", input=text).stdout
    assert "pipeline/orders configured (version " in out


def test_a_version_never_changes_its_bytes(person):
    text = MANIFEST + 'version: "7"\n'
    person.does("apply", person.file("o.yaml", text))
    result = person.types("apply", person.file("o.yaml", text.replace("hello", "bye")))
    assert result.exit_code == 1
    assert (
        f"o.yaml:{len(text.splitlines())}:10: version: orders/7 is stored with other bytes"
        in result.stderr
    )
    assert "ConfigChanged" in result.stderr


def test_a_configuration_that_went_missing_is_put_again(person):
    file = person.file("orders.yaml")
    person.does("apply", file)
    version = person.stored("orders")["version"]
    person.store(lambda store: store.configs.delete("orders", version))
    before = person.revision("orders")
    assert "its configuration was missing" in person.does("apply", file).stdout
    assert person.revision("orders") == before
    assert person.store(lambda store: store.configs.info("orders", version)) is not None


def test_an_entry_that_is_not_understood_is_replaced_and_that_is_told(person):
    person.put("orders", b"not json")
    out = person.does("apply", person.file("orders.yaml")).stdout
    assert "configured; replaces an entry that is not understood" in out
    assert person.stored("orders")["status"] == "published"


def test_a_manifest_without_configuration_needs_a_stored_version(person):
    missing = person.types("apply", person.file("o.yaml", 'schema: 1\nid: orders\nversion: "9"\n'))
    assert missing.exit_code == 1
    assert "o.yaml:3:10: version: no configuration orders/9 is stored" in missing.stderr
    none = person.types("apply", person.file("o.yaml", "schema: 1\nid: orders\n"))
    assert none.exit_code == 1
    assert "version: a published pipeline must name its version" in none.stderr
    person.store(lambda store: store.configs.put("orders", "9", b"input: 1\n"))
    linted = person.types("apply", person.file("o.yaml", 'schema: 1\nid: orders\nversion: "9"\n'))
    assert linted.exit_code == 1
    assert "orders/9:1" in linted.stderr


def test_a_dry_run_writes_nothing(person):
    out = person.does("apply", "--dry-run", person.file("orders.yaml")).stdout
    assert out.endswith("(dry run)\n")
    assert person.stored("orders") is None
    assert person.store(lambda store: store.configs.list()) == []


def test_without_an_engine_here_it_is_told_and_left_to_the_controller(person):
    person.env["NEXTHOS_ENGINE"] = "/nowhere/engine"
    result = person.does("apply", person.file("orders.yaml"))
    assert "not linted here" in result.stderr
    assert "created" in result.stdout


def test_an_engine_of_the_controller_is_not_asked_here(person):
    result = person.does("apply", person.file("o.yaml", MANIFEST + "engine: special\n"))
    assert "engine 'special' is the controller's" in result.stderr


def test_a_namespace_without_buckets_is_told_with_what_to_do(person):
    result = person.types("apply", person.file("orders.yaml"), "-n", "empty")
    assert result.exit_code == 1
    assert "nexthos setup" in result.stderr
    assert "StoreMissing" in result.stderr


def test_nothing_to_apply_is_an_error(person):
    result = person.types("apply", person.file("x.yaml", "services: {}\n"))
    assert result.exit_code == 1
    assert "skipped" in result.stderr
    assert "nothing to apply" in result.stderr
    assert person.types("apply").exit_code == 2


def test_an_apply_of_two_hundred_pipelines_is_complete(person):
    text = "---\n".join(f"schema: 1\nid: p{n}\nversion: x\nstatus: draft\n" for n in range(200))
    out = person.does("apply", "-", input=text).stdout
    assert out.count("created") == 200


def test_of_several_files_one_of_which_is_refused_nothing_is_written_and_that_is_said(person):
    good, bad = person.file("good.yaml"), person.file("bad.yaml", "input: {nowhere: {}}\n")
    result = person.types("apply", good, bad)
    assert result.exit_code == 1
    assert "nothing was written" in result.stderr
    assert person.stored("good") is None
    alone = person.types("apply", bad)
    assert "nothing was written" not in alone.stderr
    assert "nothing was written" not in person.does("apply", good).stderr
