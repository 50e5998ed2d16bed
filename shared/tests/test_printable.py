"""What others wrote, on its way to a terminal."""

from __future__ import annotations

import io
import json
import logging
import sys
import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nexthos_shared.printable import MOST_MARKS, escaped_json, printable, printable_json, width
from nexthos_shared.process.last_resorts import clean_last_resorts

ANY = st.text(alphabet=st.characters(codec=None, exclude_categories=()))
HOSTILE = st.text(
    alphabet="a\x1b\x07\x08\r\n\t\x9b\x7f\u202e\u2066\u2028\u200b\u0301\ud800\U000e0041é日"
)
OBEYED = {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}


def obeyed(text: str) -> set[str]:
    return {char for char in text if unicodedata.category(char) in OBEYED}


@pytest.mark.fault(115)
@given(ANY | HOSTILE)
def test_nothing_that_a_terminal_obeys_is_left_in_any_text(text: str) -> None:
    shown = printable(text)
    assert not obeyed(shown)
    assert shown.encode().decode() == shown
    assert printable(shown) == shown


@given(ANY | HOSTILE)
def test_line_feeds_are_the_only_ones_that_are_left_where_the_layout_makes_them(text: str) -> None:
    shown = printable(text, lines=True)
    assert obeyed(shown) <= {"\n"}
    assert shown.count("\n") == text.count("\n")


@given(ANY | HOSTILE)
def test_json_says_the_same_and_holds_nothing_that_a_terminal_obeys(text: str) -> None:
    assume(json.loads(json.dumps(text)) == text)  # JSON joins two halves of a character
    for shown in (printable_json({text: [text]}), escaped_json(json.dumps({text: [text]}))):
        assert obeyed(shown) <= {"\n"}
        assert json.loads(shown) == {text: [text]}


@given(HOSTILE)
def test_a_line_that_only_looks_like_json_is_made_printable_too(text: str) -> None:
    assert not obeyed(escaped_json("{" + text))


@given(st.text(alphabet="e\u0301\u0489\ufe0f\x1b "))
def test_no_letter_carries_a_flood_of_marks(text: str) -> None:
    run = 0
    for char in printable(text):
        run = run + 1 if unicodedata.category(char) in ("Mn", "Me") else 0
        assert run <= MOST_MARKS


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        (
            "\x1b]8;;https://x\x1b\\link\x1b]8;;\x1b\\",
            "\\x1b]8;;https://x\\x1b\\link\\x1b]8;;\\x1b\\",
        ),
        ("ok\rFAIL\b\b", "ok\\x0dFAIL\\x08\\x08"),
        ("a\nb\tc\x7f\x85\x9b2J", "a\\x0ab\\x09c\\x7f\\x85\\x9b2J"),
        ("\u202etxt.exe\u2069", "\\u202etxt.exe\\u2069"),
        ("or\u200bders\ufeff\u2060\u3164", "or\\u200bders\\ufeff\\u2060\\u3164"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("\udcff", "\\udcff"),
        ("\U000e0041", "\\U000e0041"),
        ("\u0301a", "\\u0301a"),
    ],
)
def test_what_hides_moves_or_reorders_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    "text", ["", "orders -> 3", "Grüße", "日本語", "e\u0301", "❤\ufe0f", "שלום", "\\x1b"]
)
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_a_wide_letter_takes_two_columns_and_a_mark_none() -> None:
    assert [width(text) for text in ("abc", "日本", "e\u0301", "\uff57")] == [3, 4, 1, 2]


def test_stray_logs_and_the_last_traceback_are_made_printable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, encoding="ascii"))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    last = logging.lastResort
    assert last is not None
    monkeypatch.setattr(last, "formatter", None)
    clean_last_resorts()
    stray = logging.Logger("stray")
    stray.warning("lost \x1b[2J é")
    error = ValueError("no \x1b]0;x\x07")
    sys.excepthook(ValueError, error, None)
    sys.stderr.flush()
    said = raw.getvalue().decode()
    assert said == "lost \\x1b[2J \\xe9\nValueError: no \\x1b]0;x\\x07\n"
