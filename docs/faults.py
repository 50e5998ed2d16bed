"""Which test shows which row of faults.md: `make faults` prints it, and ends with 1 if one has none.

Comes in: the table, and the tests' source. Goes out: rows with their tests; complaints. The tests are
read and not collected: half a second instead of five, and nothing of them is imported.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
_ROW = re.compile(r"^\| (\d+) \|(.*)\|(.*)\|(.*)\|(.*)\|$", re.M)


@dataclass(frozen=True)
class Row:
    """One fault. `waits`: what must be built before it can be shown."""

    number: int
    fault: str
    levels: tuple[str, ...]
    waits: str

    @property
    def must_be_shown(self) -> bool:
        """Whether it needs a test now. D alone waits for the container executor."""
        return not self.waits and set(self.levels) != {"D"}


@dataclass(frozen=True)
class Shown:
    """One test that names a row. `fails`: it is expected to fail, and shows a defect."""

    file: str
    name: str
    fails: bool


def rows(text: str) -> list[Row]:
    """The table of faults.md."""
    found = []
    for number, fault, _, levels, waits in _ROW.findall(text):
        found.append(Row(int(number), fault.strip(), tuple(levels.split()), waits.strip()))
    return found


def shown(root: Path) -> dict[int, list[Shown]]:
    """Tests by the row that they name, in the folders that pytest looks into."""
    settings = tomllib.loads((root / "pyproject.toml").read_text())
    by_row: dict[int, list[Shown]] = {}
    for folder in settings["tool"]["pytest"]["ini_options"]["testpaths"]:
        for file in sorted((root / folder).rglob("test_*.py")):
            for row, test in _tests(file, str(file.relative_to(root))):
                by_row.setdefault(row, []).append(test)
    return by_row


def _tests(file: Path, name: str) -> Iterator[tuple[int, Shown]]:
    for node in ast.walk(ast.parse(file.read_text(), name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            marks = list(_marks(node.decorator_list))
            fails = any(mark == "xfail" for mark, _ in marks)
            for row in dict.fromkeys(
                row for mark, args in marks if mark == "fault" for row in args
            ):
                yield row, Shown(name, node.name, fails)


def _marks(decorators: Iterable[ast.expr]) -> Iterator[tuple[str, list[int]]]:
    """Marks by name with their numbers, those inside of `pytest.param` included."""
    for decorator in decorators:
        for node in ast.walk(decorator):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                numbers = [a.value for a in node.args if isinstance(a, ast.Constant)]
                yield node.func.attr, [n for n in numbers if isinstance(n, int)]


def complaints(table: Iterable[Row], tests: Mapping[int, list[Shown]]) -> list[str]:
    """What keeps the table from being true."""
    table = list(table)
    found = [
        f"row {row.number} has no test that passes: {row.fault}"
        for row in table
        if row.must_be_shown and all(test.fails for test in tests.get(row.number, ()))
    ]
    numbers = [row.number for row in table]
    if numbers != list(range(1, len(numbers) + 1)):
        found.append("the rows are not numbered 1, 2, 3, ...")
    for number in sorted(set(tests) - set(numbers)):
        found += [
            f"{t.file}: {t.name} names row {number}, which is not there" for t in tests[number]
        ]
    return found


def page(table: Iterable[Row], tests: Mapping[int, list[Shown]]) -> str:
    """The generated part of faults.md."""
    lines = ["| # | Tests |", "|---|---|"]
    for row in table:
        if named := tests.get(row.number):
            lines.append(f"| {row.number} | {'<br>'.join(map(_linked, named))} |")
    return "\n".join(lines)


def _linked(test: Shown) -> str:
    words = test.name.removeprefix("test_").replace("_", " ")
    return f"[{words}](../{test.file}){' (fails so far)' if test.fails else ''}"


def main() -> int:
    """Print each row with its tests, then what is wrong."""
    table, tests = rows((HERE / "faults.md").read_text()), shown(ROOT)
    for row in table:
        named = tests.get(row.number, [])
        waits = f"  (waits for {row.waits})" if row.waits else ""
        print(f"{row.number:3} {' '.join(row.levels):6} {row.fault}{waits}")
        for test in named:
            print(f"           {test.file}::{test.name}{'  (fails so far)' if test.fails else ''}")
        if not named:
            print("           no test" + ("" if row.must_be_shown else ", and none needed yet"))
    without = [row for row in table if not tests.get(row.number)]
    print(f"\nwithout a test: {', '.join(_why(row) for row in without) or 'none'}")
    waiting = [row for row in table if row.waits and tests.get(row.number)]
    print(f"waits, and has a test already: {', '.join(map(_why, waiting)) or 'none'}")
    wrong = complaints(table, tests)
    for words in wrong:
        print(f"error: {words}", file=sys.stderr)
    return 1 if wrong else 0


def _why(row: Row) -> str:
    reason = row.waits or ("Docker" if not row.must_be_shown else "")
    return f"{row.number} ({reason})" if reason else str(row.number)


if __name__ == "__main__":
    sys.exit(main())
