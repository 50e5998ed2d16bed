"""docs/faults.md is true: rows that must be shown are, and tests name rows that are there."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
TABLE = """
| # | What happens | What holds then | Shown by | Waits for |
|---|---|---|---|---|
| 1 | It falls | It stands up | U I | |
| 2 | It sinks | It swims | I | boats |
| 3 | It burns | It is put out | D | |
"""


@pytest.fixture(scope="module")
def faults() -> Any:
    spec = importlib.util.spec_from_file_location("faults", ROOT / "docs" / "faults.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["faults"] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path: Path) -> Any:
    """A project with one test file."""
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\ntestpaths = ["tests"]\n')
    (tmp_path / "tests").mkdir()

    def write(source: str) -> Path:
        (tmp_path / "tests" / "test_it.py").write_text(source)
        return tmp_path

    return write


def test_every_row_that_must_be_shown_is_and_every_mark_names_a_row() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "faults.py"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "without a test: " in done.stdout


def test_a_row_without_a_test_is_named_unless_it_waits_or_is_docker_alone(
    faults: Any, tree: Any
) -> None:
    tests = faults.shown(tree("def test_nothing(): pass\n"))
    assert faults.complaints(faults.rows(TABLE), tests) == [
        "row 1 has no test that passes: It falls"
    ]


@pytest.mark.parametrize(
    "source",
    [
        "@pytest.mark.fault(1, 3)\ndef test_it(): pass\n",
        "class TestIt:\n    @pytest.mark.fault(1)\n    async def test_it(self): pass\n",
        "@pytest.mark.parametrize('a', [pytest.param(7, marks=pytest.mark.fault(1))])\n"
        "def test_it(a): pass\n",
    ],
)
def test_a_test_shows_a_row_by_its_mark(faults: Any, tree: Any, source: str) -> None:
    tests = faults.shown(tree(source))
    assert [(t.file, t.name) for t in tests[1]] == [("tests/test_it.py", "test_it")]
    assert faults.complaints(faults.rows(TABLE), tests) == []


def test_a_test_that_is_expected_to_fail_shows_nothing(faults: Any, tree: Any) -> None:
    source = "@pytest.mark.fault(1)\n@pytest.mark.xfail(reason='a defect')\ndef test_it(): pass\n"
    tests = faults.shown(tree(source))
    assert len(faults.complaints(faults.rows(TABLE), tests)) == 1
    assert "fails so far" in faults.page(faults.rows(TABLE), tests)


def test_a_mark_of_a_row_that_is_not_there_is_named(faults: Any, tree: Any) -> None:
    tests = faults.shown(tree("@pytest.mark.fault(1, 4)\ndef test_it(): pass\n"))
    [words] = faults.complaints(faults.rows(TABLE), tests)
    assert words == "tests/test_it.py: test_it names row 4, which is not there"
