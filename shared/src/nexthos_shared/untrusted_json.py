"""The one reader of JSON that others wrote: a value, or None. Never raises, whatever the bytes are.

Comes in: bytes from the store, from an engine, from a disk. Goes out: a value within bounds, so that whoever
uses it need not fear for the stack (depth), the clock (size), arithmetic (infinities, numbers of 4,000
digits) or an encoder (lone surrogates). Imports nothing heavy: the runner reads with it, too.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

MOST_BYTES = 1024 * 1024  # NATS's own bound of a message, unless its server is told otherwise
MOST_DEPTH = 64  # brackets inside one another
MOST_DIGITS = (
    40  # of a number without a fraction: more than any that is meant, and a float holds it
)
# Strings whole, so that brackets in them don't count; what is cut off is the parser's to refuse. Possessive,
# or a text of quotes would be searched again from each of them.
_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.?)*+"?|[\[{]|[\]}]', re.DOTALL)


def read_json(data: bytes | None, *, most: int = MOST_BYTES) -> Any:
    """The value in `data`; None where it is not JSON (RFC 8259, UTF-8), or beyond the bounds.

    `most`: bytes.
    """
    if not data or len(data) > most or _is_deep(data):
        return None
    try:
        value = json.loads(
            data.decode("utf-8"),
            parse_int=_whole,
            parse_float=_finite,
            parse_constant=_no_number,
        )
        if b"\\u" in data:  # a lone surrogate, which no encoder takes
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return value


def read_object(data: bytes | None, *, most: int = MOST_BYTES) -> dict[str, Any] | None:
    """The same where an object is due, and None where something else stands."""
    value = read_json(data, most=most)
    return value if isinstance(value, dict) else None


def whole(value: object, most: int) -> int | None:
    """`value` if it is an integer from 0 to `most`; a truth value is none."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most:
        return value
    return None


def number(value: object) -> float | None:
    """`value` as a float if it is a finite number; a truth value is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def _is_deep(data: bytes) -> bool:
    if data.count(b"[") + data.count(b"{") <= MOST_DEPTH:
        return False
    depth = 0
    for found in _STRUCTURE.finditer(data):
        mark = found[0]
        if mark in (b"[", b"{"):
            depth += 1
            if depth > MOST_DEPTH:
                return True
        elif mark in (b"]", b"}"):
            depth -= 1
    return False


def _whole(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError("too many digits")
    return int(text)


def _finite(text: str) -> float:
    found = float(text)
    if not math.isfinite(found):
        raise ValueError("too large")
    return found


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON")
