r"""Text that others wrote, made fit for a terminal: what would move, hide or reorder it is written out.

Comes in: any text. Goes out: the same text with `\xNN`, `\uNNNN` or `\UNNNNNNNN` in place of each control,
each mark of direction, each character without a width or an assigned meaning, each lone surrogate. What is
printable already stays as it is, so doing it twice changes nothing.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from typing import Any

# Controls (C0, DEL, C1), formats (directions, zero widths, tags), surrogates, what Python's Unicode does
# not know yet, and the separators of lines and paragraphs.
_HIDDEN = {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}
# Letters and marks by their category, and drawn as nothing: the fillers of Hangul and the like.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180e\u180f\u3164\uffa0")
_MARKS = {"Mn", "Me"}
MOST_MARKS = 4  # on one letter; no script that is in use needs more, and a flood covers other lines


class _Hidden(dict[int, bool]):
    """Whether a character is to be written out; found out when it is met first."""

    def __missing__(self, code: int) -> bool:
        char = chr(code)
        self[code] = unicodedata.category(char) in _HIDDEN or char in _BLANK
        return self[code]


_IS_HIDDEN = _Hidden()


def printable(text: str, *, lines: bool = False) -> str:
    """`text` on one line of a terminal; with `lines`, its line feeds are the caller's own and stay."""
    if text.isascii() and text.isprintable():
        return text
    if lines:
        return "\n".join(_rewritten(line, _escape) for line in text.split("\n"))
    return _rewritten(text, _escape)


def printable_json(value: Any, *, indent: int | None = 2) -> str:
    """`value` as JSON that reads the same and prints nothing of the above: written out as JSON does."""
    return escaped_json(json.dumps(value, indent=indent, ensure_ascii=False), lines=True)


def escaped_json(text: str, *, lines: bool = False) -> str:
    """The same for JSON that is written already: such characters may only stand in its strings."""
    if lines:
        return "\n".join(escaped_json(line) for line in text.split("\n"))
    if text.isascii() and text.isprintable():
        return text
    return _rewritten(text, _escape_in_json)


def _rewritten(text: str, escape: Callable[[str], str]) -> str:
    """Also marks beyond those that a letter may carry are written out, and those with no letter before."""
    parts, marks = [], MOST_MARKS
    for char in text:
        marks = marks + 1 if _is_mark(char) else 0
        parts.append(escape(char) if marks > MOST_MARKS or _IS_HIDDEN[ord(char)] else char)
    return "".join(parts)


def _is_mark(char: str) -> bool:
    return char > "\x7f" and unicodedata.category(char) in _MARKS


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escape_in_json(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[n : n + 2].hex()}" for n in range(0, len(units), 2))


def width(text: str) -> int:
    """Columns that printable text takes: two for a wide letter, none for a mark."""
    if text.isascii():
        return len(text)
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if _is_mark(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
