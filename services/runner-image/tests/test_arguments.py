# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, no-warn-unreachable
"""The command line: help that is enough, a version, and nothing else."""

from pathlib import Path

import pytest

from nexthos_runner.arguments import answer
from nexthos_runner.settings import VARIABLES
from nexthos_shared.exit_codes import SENTENCES, Exit

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_help_and_readme_explain_every_variable_and_exit_code(capsys):
    with pytest.raises(SystemExit) as ended:
        answer(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for name, _, meaning in VARIABLES:
        assert f"{name} " in said
        assert meaning in said
        for one in name.split(", "):
            assert f"`{one}`" in README
    for code, sentence in SENTENCES.items():
        assert f"{code:d} " in said
        assert sentence in said
        assert f"| {code:d} | {sentence} |" in README
    assert "NEXTHOS_PIPELINE=orders" in said


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as ended:
        answer(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.strip() == "0.1.0"


@pytest.mark.parametrize("argv", [["orders/1"], ["--vers"], ["--help=x"]])
def test_anything_else_is_a_usage_error(argv, capsys):
    with pytest.raises(SystemExit) as ended:
        answer(argv)
    assert ended.value.code == Exit.USAGE
    assert "environment" in capsys.readouterr().err
