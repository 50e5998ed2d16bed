"""Tables in the columns that a terminal has."""

from __future__ import annotations

import re
import sys
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexthos_cli.output.columns import arranged, folds
from nexthos_cli.output.render import line_header, plain_table
from nexthos_shared.model import Phase
from nexthos_shared.printable import width
from nexthos_shared.reasons import Reason
from nexthos_testing.tty import on_terminal

NEXTHOS = Path(sys.executable).parent / "nexthos"
WIDTHS = [80, 100, 120, 200]
LONG = "dial tcp 127.0.0.1:4222: connect: connection refused, " * 5 + "and that is all"
VERSION = "2026-12-01.a-rather-long-version-name"
ID = "orders-of-the-northern-hemisphere"


def text(lines):
    return ["".join(part.text for part in line) for line in lines]


def row(reason=Reason.EXECUTOR_UNREACHABLE, phase=Phase.CRASH_LOOP, key=ID, version=VERSION):
    return [key, "published", str(phase), "10/12", version, "1234", "23h59m", f"{reason}: {LONG}"]


@pytest.mark.parametrize("total", WIDTHS)
def test_phase_ready_and_the_whole_reason_stay_and_the_message_folds(total):
    for phase, reason in product(Phase, Reason):
        head, *lines = text(arranged(line_header(False), [row(reason, phase)], total))
        assert all(len(line) <= total for line in (head, *lines))
        for name in ("ID", "WANTED", "PHASE", "READY", "VERSION", "RESTARTS", "AGE"):
            assert name in head.split()
        for cell in ("published", str(phase), "10/12", "1234", "23h59m"):
            assert any(cell in line.split() for line in lines[:2])  # below the header's REASON
        told = " ".join(" ".join(lines).split())
        assert f"{reason}:" in told.split()
        assert "and that is all" in told


@pytest.mark.parametrize("total", WIDTHS)
def test_with_all_columns_none_is_lost(total):
    header = line_header(True)
    cells = [*row()[:-1], "process", "host-1.example.org", "17", "The orders", "team=a", row()[-1]]
    lines = text(arranged(header, [cells], total))
    told = " ".join(" ".join(lines).split())
    assert all(len(line) <= total for line in lines)
    for word in (*header, "CrashLoop", "10/12", "process", "team=a", "ExecutorUnreachable:"):
        assert word in told.split()


@given(
    st.lists(st.lists(st.text(alphabet="ab 日\n\x1b", max_size=40), min_size=5, max_size=5)),
    st.integers(60, 200),
)
def test_no_line_is_wider_than_the_terminal_and_nothing_is_lost(rows, total):
    header = ("ID", "PHASE", "READY", "VERSION", "REASON")
    cells = [[key, "Running", "1/1", version, reason] for key, version, reason, *_ in rows]
    lines = text(arranged(header, cells, total))
    assert all(width(line) <= total for line in lines)
    for letter in "ab日":
        written = sum(cell.count(letter) for row in cells for cell in row)
        escaped = sum(
            cell.count("\n" if letter == "a" else "\x1b") for row in cells for cell in row
        )
        more = escaped if letter in "ab" else 0  # `\x0a` has an a, `\x1b` a b
        assert "".join(lines).count(letter) == written + more


def test_off_a_terminal_wide_letters_and_marks_keep_the_columns_in_line():
    lines = plain_table(
        ("ID", "PHASE"), [["日本", "Running"], ["e\u0301", "Failed"], ["a\nb", "-"]]
    )
    assert [line[: line.rindex(" ") + 1] for line in lines] == [
        "ID      ",
        "日本    ",
        "e\u0301       ",
        "a\\x0ab  ",
    ]
    assert {width(line[: line.rindex(" ") + 1]) for line in lines} == {8}


@given(st.text(alphabet="ab 日", max_size=60), st.integers(2, 20))
def test_lines_are_broken_between_words_and_keep_every_letter(words, most):
    lines = folds(words, most)
    assert all(width(line) <= most for line in lines)
    assert "".join(lines).replace(" ", "") == words.replace(" ", "")
    if all(width(word) <= most for word in words.split()):
        assert " ".join(lines).split() == words.split()


@pytest.mark.parametrize("columns", WIDTHS)
def test_on_a_terminal_what_decides_is_whole_in_ls_status_and_events(person, columns):
    person.put(ID, {"status": "published", "version": VERSION})
    problem = {"reason": "ExecutorUnreachable", "message": LONG}
    conditions = [
        {"type": "Ready", "status": "False", **problem},
        {"type": "Progressing", "status": "Unknown", **problem},
        {"type": "Orphaned", "status": "False", "reason": "Ready"},
    ]
    person.report(ID, "CrashLoop", ready=0, replicas=1, version="1", conditions=conditions)
    shown = on_terminal([NEXTHOS, "ls"], person.env, columns=columns)
    told = " ".join(shown.lines)
    assert all(len(line) <= columns for line in shown.lines)
    for word in ("WANTED", "PHASE", "READY", "RESTARTS", "AGE", "published", "CrashLoop", "0/1"):
        assert word in told.split()
    assert "ExecutorUnreachable:" in told
    assert "…" not in shown.text
    assert "\x1b[31mCrashLoop" in shown.text
    status = on_terminal([NEXTHOS, "status", ID], person.env, columns=columns)
    table = status.lines[status.lines.index("Conditions:") + 1 :]
    assert table[0].split()[:4] == ["TYPE", "STATUS", "REASON", "SINCE"]
    row = next(line for line in table if line.startswith("Ready "))
    assert row.split()[:3] == ["Ready", "False", "ExecutorUnreachable"]
    assert all(len(line) <= columns for line in table[: table.index("")])
    assert re.search(r"Ready +.*\x1b\[31mFalse", status.text)
    assert "\x1b[35mUnknown" in status.text
    assert "\x1b[32mFalse" in status.text
    assert "and that is all" in " ".join(" ".join(table).split())
