"""Problems of a configuration stand at the line of the file that it is written in, whatever its form."""

from __future__ import annotations

import json

import pytest

from nexthos_cli.manifest.loader import load
from nexthos_cli.manifest.sources import Source
from nexthos_shared.reasons import Problem, Reason

CONFIG = "\n\ninput: {stdin: {}}\nnonsense: 1\n"
WRONG = Problem(Reason.LINT_FAILED, "wrong", line=4, column=1)


def placed(text: str, tmp_path) -> Problem:
    loaded = load([Source("m.yaml", text.encode(), tmp_path)])
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
def test_without_a_block_it_is_where_the_text_begins_and_says_the_line_within(text, tmp_path):
    problem = placed(text, tmp_path)
    assert (problem.file, problem.line) == ("m.yaml", 4)
    assert problem.message == "wrong (line 4 of the configuration)"


@pytest.mark.parametrize("style", ["|", "|-", "|+", "|2"])
def test_in_a_block_it_is_the_line_of_the_file(style, tmp_path):
    block = "".join(f"  {line}\n" for line in CONFIG.splitlines())
    problem = placed(f"schema: 1\nid: a\nconfig: {style}\n{block}", tmp_path)
    assert (problem.line, problem.column) == (7, 3)
    assert problem.message == "wrong"


def test_characters_that_end_lines_only_elsewhere_move_nothing(tmp_path):
    text = "schema: 1\nid: a\n\nconfig: |\n  # \u2028\n  \n  x: 1\n  y: 1\n"
    assert placed(text, tmp_path).line == 8
