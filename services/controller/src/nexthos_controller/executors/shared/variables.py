r"""The engine's own substitution of variables, done here with each stream's own environment.

Comes in: a configuration's bytes, an environment. Goes out: the text that an engine of this pipeline
alone would read, and a form of it that passes unchanged through the host's substitution, which happens
to every body once more. Must not know YAML: the engine substitutes before it parses, so a value may hold
YAML. Nothing here may show a value.

As in bento's internal/config/env_vars.go (`envRegex`, `escapedEnvRegex`), byte for byte:

    ${NAME}            the value; a NAME that is not set is missing
    ${NAME:default}    the value, or the default if it is empty or not set. One `${...}` may stand inside
    ${{NAME}}          after all that: `${NAME}`, unsubstituted
    \\n in a value     becomes a backslash and an n

Written as a scanner, because Python's `re` needs quadratic time for texts such as `${A:${${${${`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_OPENING = re.compile(rb"\$\{([0-9A-Za-z_.]+)([:}])")
_ESCAPED = re.compile(rb"\$\{\{([0-9A-Za-z_.]+)([:}])")
_CALL = re.compile(rb"""(?<![\w.$])env\(\s*(?:\\?["']([0-9A-Za-z_.]+)\\?["']\s*\))?""")


def substitute(config: bytes, environment: Mapping[str, str]) -> tuple[bytes, list[str]]:
    """`config` as the engine reads it, and the names that are missing (then the text is of no use)."""
    values = {name.encode(): value.encode() for name, value in environment.items()}
    missing: list[str] = []
    out: list[bytes] = []
    at = 0
    for start, end, match in _found(config, _OPENING, b"}"):
        out.append(config[at:start])
        name, value = match[1], values.get(match[1])
        if match[2] == b"}":
            if value is None:
                missing.append(name.decode())
        elif not value:
            value = config[match.end() : end - 1]
        out.append((value or b"").replace(b"\n", b"\\n"))
        at = end
    out.append(config[at:])
    return _unescape(b"".join(out)), missing


def _unescape(text: bytes) -> bytes:
    out: list[bytes] = []
    at = 0
    for start, end, _ in _found(text, _ESCAPED, b"}}"):
        out += (text[at:start], b"$", text[start + 2 : end - 1])
        at = end
    out.append(text[at:])
    return b"".join(out)


def protect(text: bytes) -> bytes:
    """What a host, whose environment has none of the names, reads as `text`."""
    # A variable that nobody can set, with `$` as its default: what the host makes of it is not read again.
    return _OPENING.sub(rb"${.:$}{\1\2", text)


def unprotectable(text: bytes) -> int | None:
    """Where `text` holds what no body can say: a literal `${{NAME}}`, which the host would unescape.

    The engine leaves such a text only of nested escapes, as of `${{A:${{A}}}`.
    """
    return next((start for start, _, _ in _found(text, _ESCAPED, b"}}")), None)


def asked_of_the_host(text: bytes, environment: Mapping[str, str]) -> tuple[str, int] | None:
    """A call of Bloblang's `env` that would answer otherwise in a shared engine, and where it stands.

    The host's environment has none of these names, and what a mapping puts together as a name may be
    any of them. What stands behind a `#` is a comment.
    """
    for match in _CALL.finditer(text):
        line = text[text.rfind(b"\n", 0, match.start()) + 1 : match.start()]
        name = (match[1] or b"").decode(errors="replace")
        if b"#" not in line and (not name or name in environment):
            return name, match.start()
    return None


def _found(
    text: bytes, opening: re.Pattern[bytes], closing: bytes
) -> Iterator[tuple[int, int, re.Match[bytes]]]:
    """Begin, end and opening of each that is closed, left to right, none inside another."""
    at = 0
    while (match := opening.search(text, at)) is not None:
        end = _end(text, match, closing)
        if end is None:
            if text.find(closing, match.end() - 1) < 0:
                return
            at = match.start() + 1
        else:
            yield match.start(), end, match
            at = end


def _end(text: bytes, match: re.Match[bytes], closing: bytes) -> int | None:
    r"""Where it ends: the furthest brace that a greedy `((\\${[^}]+})|[^}])*` leads to."""
    if match[2] == b"}":
        brace = match.end() - 1
        return brace + len(closing) if text.startswith(closing, brace) else None
    found = None
    at = match.end()
    while (brace := text.find(b"}", at)) >= 0:
        if text.startswith(closing, brace):
            found = brace + len(closing)
        inner = text.find(b"${", at, brace)
        if inner < 0 or brace == inner + 2:  # not the end of a `${...}` inside
            break
        at = brace + 1
    return found
