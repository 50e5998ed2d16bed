"""Problems of a configuration stand at the line of the file that it is written in, whatever its form."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from nexthos_shared.errors import ConfigMissing
from nexthos_shared.manifest.documents import load
from nexthos_shared.reasons import Problem, Reason

CONFIG = "\n\ninput: {stdin: {}}\nnonsense: 1\n"
WRONG = Problem(Reason.LINT_FAILED, "wrong", line=4, column=1)


@dataclass(frozen=True)
class Text:
    """A source without a file system."""

    name: str
    content: bytes
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        return self.name.partition(".")[0]

    @property
    def key(self) -> str:
        return self.name

    def beside(self, named: str) -> Text:
        if named not in self.files:
            raise ConfigMissing(f"{named}: no such file")
        return Text(named, self.files[named])


def placed(text: str) -> Problem:
    loaded = load([Text("m.yaml", text.encode())])
    assert loaded.problems == []
    return loaded.manifests[0].placed(WRONG)


@pytest.mark.fault(123)
@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"schema": 1, "id": "a", "config": CONFIG}, indent=1),
        'schema: 1\nid: a\n\nconfig: "\\n\\ninput: {stdin: {}}\\nnonsense: 1\\n"\n',
        "schema: 1\nid: a\n\nconfig: >\n  input: {stdin: {}}\n\n  nonsense: 1\n",
    ],
)
def test_without_a_block_it_is_where_the_text_begins_and_says_the_line_within(text):
    problem = placed(text)
    assert (problem.file, problem.line) == ("m.yaml", 4)
    assert problem.message == "wrong (line 4 of the configuration)"


@pytest.mark.parametrize("style", ["|", "|-", "|+", "|2"])
def test_in_a_block_it_is_the_line_of_the_file(style):
    block = "".join(f"  {line}\n" for line in CONFIG.splitlines())
    problem = placed(f"schema: 1\nid: a\nconfig: {style}\n{block}")
    assert (problem.line, problem.column) == (7, 3)
    assert problem.message == "wrong"


def test_characters_that_end_lines_only_elsewhere_move_nothing():
    text = "schema: 1\nid: a\n\nconfig: |\n  # \u2028\n  \n  x: 1\n  y: 1\n"
    assert placed(text).line == 8


MANIFEST = b"schema: 1\nid: a\nconfig_file: a.yaml\n"


def test_a_configuration_beside_a_manifest_is_read_by_the_source_and_is_no_pipeline_of_its_own() -> (
    None
):
    files = {"a.yaml": CONFIG.encode()}
    loaded = load([Text("a.yaml", CONFIG.encode()), Text("m.yaml", MANIFEST, files)])
    assert [(m.file, m.content) for m in loaded.manifests] == [("m.yaml", CONFIG.encode())]
    assert [(s.file, s.reason) for s in loaded.skipped] == [
        ("a.yaml", "the configuration of pipeline a in m.yaml")
    ]
    assert loaded.manifests[0].placed(WRONG).where == "a.yaml:4:1"


def test_a_configuration_that_the_source_does_not_have_is_told_at_the_field_that_names_it() -> None:
    problem = load([Text("m.yaml", MANIFEST)]).problems[0]
    assert (problem.reason, problem.where) == (Reason.CONFIG_MISSING, "m.yaml:3:14")
    assert problem.message == "config_file: a.yaml: no such file"
