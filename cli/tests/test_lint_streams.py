"""`nexthos lint` of a manifest that names the streams executor says what that will refuse."""

from __future__ import annotations

import pytest

MANIFEST = """\
schema: 1
id: a
executor: %s
config: |
  input: {generate: {interval: 1s, mapping: 'root = 1'}}
  %s
  output: {drop: {}}
"""


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("cache_resources: [{label: c, memory: {}}]", "name another executor"),
        ("logger: {level: DEBUG}", "logger"),
        (
            "pipeline: {processors: [{metric: {type: counter, name: a, labels: {path: x}}}]}",
            "metric a",
        ),
        ("pipeline: {processors: [{mapping: 'root = count(\"x\")'}]}", "counter()"),
    ],
)
def test_lint_says_with_the_line_what_a_shared_engine_refuses(person, section, words):
    person.does("lint", person.file("m.yaml", MANIFEST % ("process", section)))
    refused = person.types("lint", person.file("m.yaml", MANIFEST % ("streams", section)))
    assert refused.exit_code == 1
    assert "m.yaml:6" in refused.stderr
    assert words in " ".join(refused.stderr.split())
    assert "CannotRunHere" in refused.stderr
    applied = person.types("apply", "m.yaml")
    assert applied.exit_code == 1
    assert "CannotRunHere" in applied.stderr


def test_lint_says_which_fields_a_shared_engine_refuses(person):
    text = "executor_options: {workdir: /tmp}\nresources: {memory: 256Mi}\n"
    text += MANIFEST % ("streams", "")
    refused = person.types("lint", person.file("m.yaml", text))
    assert refused.exit_code == 1
    assert "executor_options.workdir" in refused.stderr
    assert "resources.memory" in refused.stderr


def test_a_missing_variable_is_told_once(person):
    section = "pipeline: {processors: [{log: {message: '${NOWHERE}'}}]}"
    refused = person.types("lint", person.file("m.yaml", MANIFEST % ("streams", section)))
    assert refused.stderr.count("error: ") == 1
