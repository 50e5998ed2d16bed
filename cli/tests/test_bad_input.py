"""Bad input: one clear line that names file and field, nothing written, nothing slow."""

from __future__ import annotations

import pytest

BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)
HEAD = "schema: 1\nid: orders\nstatus: draft\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"schema": 1, "id": ', "bad.yaml:1:21: not YAML that can be read"),
        ("schema: [1", "bad.yaml:1:11"),
        (HEAD + "colour: red\n", "bad.yaml:4:1: colour: is not a field of a manifest"),
        (HEAD + "replica: 2\n", "did you mean 'replicas'?"),
        (HEAD + "replicas: two\n", "bad.yaml:4:11: replicas: "),
        (HEAD + "replicas: 0\n", "bad.yaml:4:11: replicas: "),
        (HEAD + "version: 3\n", "bad.yaml:4:10: version: must be text: write it in quotes"),
        (HEAD + "version: a/b\n", "bad.yaml:4:10: version: "),
        (HEAD + "env: {A: 1}\n", "bad.yaml:4:10: env.A: must be text"),
        (HEAD + "env: {1A: x}\n", "bad.yaml:4:7: env.1A: "),
        (HEAD + "env: [A]\n", "bad.yaml:4:6: env: "),
        (HEAD + "resources: {memory: lots}\n", "bad.yaml:4:21: resources.memory: must be bytes"),
        (HEAD + "update: {ready_timeout: soon}\n", "update.ready_timeout: must be a duration"),
        (HEAD + "lifecycle: job\nreplicas: 2\n", "replicas: a job has one replica"),
        (HEAD + "config: {input: 1}\n", "bad.yaml:4:9: config: must be text: write `config: |`"),
        (HEAD + "config_file: nowhere.yaml\n", "bad.yaml:4:14: config_file: "),
        (HEAD + "config_file: x\nconfig: y\n", "config_file: stands beside `config`"),
        (
            HEAD + "replicas: 1\nreplicas: 2\n",
            "bad.yaml:5:1: not YAML that can be read: key 'replicas'",
        ),
        (
            HEAD + "labels: !!python/object:os.system {}\n",
            "bad.yaml:4:9: not YAML that can be read: tag 'tag:yaml.org,2002:python",
        ),
        (HEAD + "digest: sha256:" + "0" * 64 + "\nconfig: |\n  x: 1\n", "bad.yaml:4:9: digest: "),
        (HEAD + f"description: {'x' * 5000}\n", "bad.yaml:4:14: description: "),
        ("schema: 2\nid: orders\n", "bad.yaml:1:9: schema: "),
        ("schema: 1\nid: orders\nstatus: on\n", "bad.yaml:3:9: status: "),
        ("schema: 1\nid: a..b\n", "bad.yaml:2:5: id: pipeline id 'a..b'"),
        ("schema: 1\nid: a/../../x\n", "pipeline id 'a/../../x'"),
        ("schema: 1\nid: Orders\n", "pipeline id 'Orders': must be 1 to 36 lower-case"),
        (f"schema: 1\nid: {'a' * 300}\n", "bad.yaml:2:5: id: pipeline id 'aaa"),
        ("schema: 1\nid: 7\nreplicas: x\n", "bad.yaml:2:5: id: "),
        ("schema: 1\n" + BOMB, "aliases add up to more than"),
        ("schema: 1\nlabels: " + "[" * 5000, "levels deep"),
        (
            "schema: 1\nlabels: {" + "".join(f"k{n}: v," for n in range(60_000)) + "}",
            "too many parts",
        ),
        ("%YAML 9.9\n---\nschema: 1\n", "bad.yaml"),
        ("schema: 1\nid: orders\x00\n", "bad.yaml"),
        ("schema: 1\n---\ninput: {}\n", "must be alone in its file"),
    ],
)
def test_a_bad_manifest_is_refused_with_file_line_and_field(person, text, words):
    result = person.types("apply", person.file("bad.yaml", text), "--no-lint")
    assert result.exit_code == 1, result.output
    assert words in result.stderr.replace(f"{person.folder}/", ""), result.stderr
    assert "Traceback" not in result.output
    assert all(len(line) < 1000 for line in result.stderr.splitlines())
    assert person.stored("orders") is None


def test_a_plain_file_whose_name_is_no_id_is_told_what_to_do(person):
    for name in ("a..b.yaml", f"{'a' * 100}.yaml", "-x.yaml"):
        result = person.types("apply", "--", person.file(name))
        assert result.exit_code == 1
        assert "rename the file, or write a manifest with `id:`" in result.stderr
        assert "InvalidName" in result.stderr


@pytest.mark.fault(49)
def test_a_configuration_over_one_mebibyte_is_refused(person):
    big = "input: {stdin: {}}\noutput: {drop: {}}\n#" + "x" * 1024 * 1024
    block = "schema: 1\nid: b\nconfig: |\n  #" + "x" * 1024 * 1024
    person.file("big.txt", big)
    files = [
        person.file("big.yaml", big),
        person.file("block.yaml", block),
        person.file("ref.yaml", "schema: 1\nid: c\nconfig_file: big.txt\n"),
        person.file("huge.yaml", "input: {}\n#" + "x" * 9 * 1024 * 1024),
    ]
    result = person.types("apply", *files)
    assert result.exit_code == 1
    assert result.stderr.count("(ConfigTooLarge)") == 4
    for name in ("big.yaml", "block.yaml", "big.txt", "huge.yaml"):
        assert name in result.stderr


def test_what_is_not_utf8_is_refused_at_its_line(person):
    person.file("bad.txt", b"input:\n  \xff")
    plain = person.file("bad.yaml", b"input:\n  stdin: {}\n#\xff\n")
    ref = person.file("ref.yaml", "schema: 1\nid: c\nconfig_file: bad.txt\n")
    result = person.types("apply", plain, ref)
    assert result.exit_code == 1
    assert "bad.yaml:3:2: not UTF-8" in result.stderr
    assert "bad.txt:2:3: not UTF-8" in result.stderr
    assert "ConfigNotText" in result.stderr


@pytest.mark.fault(49)
def test_a_yaml_bomb_in_a_plain_file_is_the_engines_to_refuse_and_bounded(person):
    result = person.types("apply", person.file("orders.yaml", "input: {stdin: {}}\n" + BOMB))
    assert result.exit_code == 1
    assert "orders.yaml" in result.stderr
    assert person.stored("orders") is None


def test_the_same_id_twice_names_both_files(person):
    one, two = person.file("orders.yaml"), person.file("other/orders.yaml")
    result = person.types("apply", one, two)
    assert result.exit_code == 1
    assert one in result.stderr
    assert two in result.stderr
    assert "pipeline orders is defined here and in" in result.stderr
    assert person.stored("orders") is None


def test_a_file_that_is_not_there_is_named(person):
    result = person.types("apply", "nowhere.yaml", person.file("orders.yaml"))
    assert result.exit_code == 1
    assert "nowhere.yaml: No such file or directory" in result.stderr
    assert person.stored("orders") is None


@pytest.mark.fault(50, 51)
@pytest.mark.parametrize("key", ["a..b", "a/../../x", "UPPER", "x" * 300, "a b", ""])
@pytest.mark.parametrize(
    "verb", ["publish", "pause", "draft", "rm", "wait", "get", "status", "logs", "reconcile"]
)
def test_a_name_that_is_no_id_is_refused_by_every_command(person, verb, key):
    result = person.types(verb, key)
    assert result.exit_code in (1, 2), result.output
    assert "Traceback" not in result.output
    assert any(r in result.stderr for r in ("InvalidName", "NotFound", "NoController"))


@pytest.mark.parametrize("value", [b"not json", b"[]", b"\xff\xfe", b"7", b"", b"[" * 20_000])
def test_an_entry_that_is_not_json_is_told_by_every_command_and_can_be_removed(person, value):
    person.put("orders", value)
    for verb in ("publish", "pause", "draft"):
        result = person.types(verb, "orders")
        assert result.exit_code == 1
        assert "pipeline 'orders': the stored entry is no" in result.stderr
    assert person.types("get", "orders").exit_code == 1
    assert "orders" in person.does("ls").stdout
    assert "Problem:" in person.does("status", "orders").stdout
    person.does("rm", "orders")
    assert person.types("status", "orders").exit_code == 1


def test_a_key_that_is_no_id_is_listed_looked_at_and_removed_but_never_written(person):
    person.put("A.b", {"status": "published", "version": "1"})
    assert "InvalidName" in person.does("ls").stdout
    person.does("status", "A.b")
    assert person.types("pause", "A.b").exit_code == 1
    person.does("rm", "A.b")
    assert person.does("ls", "-o", "name").stdout == ""
