"""The engine's words, read as problems: reason, line, column, and nothing that is secret.

Comes in: what an engine wrote. Goes out: `Problem`s. Must not know how the engine was called.

The forms (bento v1.20.0; the benthos sources use the same words):
    FILE(4,1) field bogus not recognised                                     lint
    FILE(1,1) required environment variables were not set: [A B]             always at (1,1)
    FILE(2,1) unable to infer input type from candidates: [kafka_franz]      a component it lacks
    FILE(1,1) yaml: line 3: did not find expected key                        line by the YAML parser
    {"level":"error","lint":"FILE(4,1) field ...","msg":"Config lint error"}  at start
    Configuration file read error: FILE: (2,1) unable to infer ...           at start, never JSON
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from urllib.parse import quote

from nexthos_shared import names
from nexthos_shared.reasons import Problem, Reason
from nexthos_shared.system_errors import with_advice
from nexthos_shared.untrusted_json import read_object

MAX_MESSAGE = 2000  # characters
_LOG_TAIL = 64 * 1024  # characters of a log that are looked at

_POSITION = re.compile(r"\((?P<line>\d+),(?P<column>\d+)\) ")
_YAML_LINE = re.compile(r"yaml: line (\d+): ")
_VARIABLES = re.compile(r"required environment variables were not set: \[([^\]]*)\]")
_COMPONENT = re.compile(
    r"unable to infer (?P<kind>\w+) type from candidates: \[(?P<names>[^\]]*)\]"
    r"|unable to infer component type: \[?(?P<inferred>[\w ]+)\]?"
    r"|(?P<typed_kind>\w+) type (?:of )?'(?P<typed>[^']*)' was not recognised"
)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]+")
_SHORTEST = 4  # characters of a value that is looked for in a log
_LONG = 8  # characters of a value that is hidden wherever it stands in a log
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_READ_ERROR = "Configuration file read error: "
_ECHOES = ("Shutting down due to linter errors",)  # says that there were errors, not which


def read_message(text: str, *, default: Reason) -> list[Problem]:
    """The problems in one message, which may begin with `FILE(line,column) `.

    A message that lists several variables is a problem for each. `default` is the reason of what is
    neither a missing component nor a missing variable.
    """
    line = column = None
    if match := _POSITION.search(text):
        line, column = max(int(match["line"]), 1), max(int(match["column"]), 1)
        text = text[match.end() :]
    elif ": yaml: " in text:
        text = text[text.index(": yaml: ") + 2 :]  # what stands before it is the file
    if match := _YAML_LINE.match(text):
        line, column = int(match[1]), None
        text = f"yaml: {text[match.end() :]}"
    text = " ".join(text.split())[:MAX_MESSAGE]
    if match := _VARIABLES.search(text):
        return [_missing_variable(name) for name in match[1].split()]
    if match := _COMPONENT.search(text):
        return [_missing_component(match, line, column)]
    return [Problem(default, text, line=line, column=column)]


def _missing_variable(name: str) -> Problem:
    return Problem(
        Reason.VARIABLE_MISSING,
        f"${{{name}}} is used and not set: put {name} into `env`, or write a default: ${{{name}:value}}",
        field=f"env.{name}",
    )


def _missing_component(match: re.Match[str], line: int | None, column: int | None) -> Problem:
    kind = match["kind"] or match["typed_kind"] or "component"
    wanted = match["names"] or match["inferred"] or match["typed"] or ""
    named = " or ".join(repr(name) for name in wanted.split())
    return Problem(
        Reason.COMPONENT_MISSING,
        f"the engine has no {kind} named {named or repr(wanted)}",
        line=line,
        column=column,
    )


def last_error(log_text: str, env: Mapping[str, str] | None = None) -> Problem | None:
    """Why an engine ended, from the end of its log: its last error, or the first lint error of it.

    `env` is what the engine was given: values of its variables are shown by their names alone. None if
    the log holds no error. The reason is ComponentMissing, LintFailed, VariableMissing, else Exited.
    """
    found: Problem | None = None
    for line in reversed(log_text[-_LOG_TAIL:].splitlines()):
        problem = _error_in(line)
        if problem is None:
            if found is not None:
                break  # the lint errors of one start stand together: the first of them is wanted
            continue
        if found is not None and problem.reason is Reason.EXITED:
            break
        found = problem
        if problem.reason is Reason.EXITED:
            break
    if found is None:
        return None
    return without_values(replace(found, message=with_advice(found.message)), env or {})


def _error_in(line: str) -> Problem | None:
    if line.startswith(_READ_ERROR):
        return read_message(line.removeprefix(_READ_ERROR), default=Reason.LINT_FAILED)[0]
    if line.startswith(("panic: ", "fatal error: ")):
        return Problem(Reason.EXITED, line[:MAX_MESSAGE])
    entry = read_object(line.encode(errors="replace")) if line.startswith("{") else None
    if entry is None or str(entry.get("level")).lower() not in ("error", "fatal", "panic"):
        return None
    if "lint" in entry:
        return read_message(str(entry["lint"]), default=Reason.LINT_FAILED)[0]
    message = str(entry.get("msg", ""))
    if message.startswith(_ECHOES):
        return None
    return read_message(message, default=Reason.EXITED)[0]


# ---- values of variables

_NO_SECRETS = frozenset({"PATH", "HOME", "TZ", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR"}) | {
    names.ENV_PIPELINE,
    names.ENV_VERSION,
    names.ENV_REPLICA,
}
# The engine shows parts of values too: YAML errors the first seven characters, parse errors the next
# five of the text that they stumbled over, and YAML cuts a value at its ` #`.
_PART = 6  # characters in a row that are taken for a part of a value
_SNIPPET = re.compile(r"(?:got|unexpected input): (?P<part>.+)$")
_SNIPPET_PART = 3


def without_values(problem: Problem, env: Mapping[str, str]) -> Problem:
    """Return the same problem, its message with `***(NAME)` in place of the values of `env`.

    Not `${NAME}`, which would read as if the engine had not filled it in.
    """
    secrets = {name: value for name, value in env.items() if name not in _NO_SECRETS and value}
    message = problem.message
    for form, name in sorted(_forms(secrets), key=lambda f: -len(f[0])):
        if len(form) > _SNIPPET_PART:
            message = message.replace(form, _instead(name))
        else:
            message = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", _instead(name), message)
    for name, value in secrets.items():
        message = _without_parts(message, name, value)
        if (match := _SNIPPET.search(message)) and _shares(match["part"], value):
            message = f"{message[: match.start('part')]}{_instead(name)}"
    return problem if message == problem.message else replace(problem, message=message)


class LogMask:
    """Hides values of `env` in lines of a log: long ones wherever they stand, short ones in URLs.

    A short one such as `1` or `info` is a word of nearly every line, and hardly a secret.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        secrets = {n: v for n, v in env.items() if n not in _NO_SECRETS and len(v) >= _SHORTEST}
        self._forms = sorted(_forms(secrets), key=lambda form: -len(form[0]))

    def __call__(self, text: str) -> str:
        """The line as it may be shown."""
        for form, name in self._forms:
            if form not in text:
                continue
            if len(form) >= _LONG:
                text = text.replace(form, _instead(name))
            else:
                text = _URL.sub(partial(_replaced, form, _instead(name)), text)
        return text


def _replaced(form: str, instead: str, url: re.Match[str]) -> str:
    return url[0].replace(form, instead)


def _instead(name: str) -> str:
    return f"***({name})"


def _without_parts(message: str, name: str, value: str) -> str:
    kept: list[str] = []
    at = 0
    while at < len(message):
        size = _PART
        if len(message) - at >= size and message[at : at + size] in value:
            while at + size < len(message) and message[at : at + size + 1] in value:
                size += 1
            kept.append(_instead(name))
        else:
            size = 1
            kept.append(message[at])
        at += size
    return "".join(kept)


def _shares(part: str, value: str) -> bool:
    """Whether `part` shows something of `value`."""
    pieces = [part[i : i + _SNIPPET_PART] for i in range(len(part) - _SNIPPET_PART + 1)]
    return any(piece in value for piece in pieces or [part])


def _forms(secrets: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each value as it is, as Go quotes it, as a URL has it, and line by line."""
    for name, value in secrets.items():
        forms = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
        forms |= {quote(value), quote(value, safe="")}
        forms |= {line.strip() for line in value.splitlines()}
        yield from ((form, name) for form in forms if form)


def plain(text: str) -> str:
    """`text` without colours."""
    return _ANSI.sub("", text)
