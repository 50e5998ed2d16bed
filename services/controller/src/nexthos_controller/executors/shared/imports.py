r"""Whether a mapping of a configuration may import a file, and what the engine said of it without the file.

Comes in: a configuration's bytes, the environment it is read with, problems. Goes out: yes or no, problems.

Measured with bento v1.20.0 (strace of `lint`): Bloblang's statements `import "file"` and `from "file"` are
all that reads other files while a configuration is linted; schemas, certificates, `file()` and the rest wait
for the run. What is wrong with such a file is told in its own words: the next five characters, names of
functions and maps, further paths. Its place is then that of the statement, and nothing marks it as such.

A wrong yes costs an answer beforehand, a wrong no shows a file: so texts are looked at as the engine reads
them, variables filled in, and escapes of YAML are read only where there are any.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nexthos_shared.reasons import Problem, Reason
from nexthos_shared.yaml import Unreadable, events

_STATEMENT = re.compile(rb"(?:import|from)(?:\s|\\.)+\\*[\"'\\]", re.DOTALL)
_IN_TEXT = re.compile(r'(?:import|from)\s+"')
# What may make letters out of others, or join them: \x, \u, \U, a line that goes on, base64.
_ESCAPES = re.compile(rb"\\[xuU\r\n]|(?:^|[\s\[,:?-]|(?<!\$)\{)![!<\w]")
_MAX_EVENTS = 200_000
_SAFE = re.compile(r"field \S+ (?:not recognised|is required)\.?|yaml: .*")
_SAFE_REASONS = {Reason.COMPONENT_MISSING, Reason.VARIABLE_MISSING, Reason.NOT_LINTED}
UNSAID = (
    "a mapping, or a file that it imports, is wrong; what the engine says of it may quote the file"
)


def may_import(config: bytes, environment: Mapping[str, str]) -> bool:
    """Whether a mapping in it may import a file. Blocks: seconds for a megabyte full of escapes."""
    try:
        config.decode()
    except UnicodeDecodeError:
        return False  # it is refused before an engine sees it
    if b"${" in config:
        # Here, since the package takes 20 ms, and most configurations that use variables are streams'.
        from nexthos_controller.executors.shared.variables import substitute

        config, _ = substitute(config, environment)
    if _STATEMENT.search(config):
        return True
    return _ESCAPES.search(config) is not None and _may_import_unescaped(config)


def _may_import_unescaped(config: bytes) -> bool:
    try:
        return any(_may_import(event) for event in events(config.decode(), most=_MAX_EVENTS))
    except (Unreadable, UnicodeDecodeError):
        return True


def _may_import(event: Any) -> bool:
    """Whether a scalar does, or has a tag, which may stand for any reading of it."""
    value = getattr(event, "value", None)
    return isinstance(value, str) and (
        _IN_TEXT.search(value) is not None or getattr(event, "tag", None) is not None
    )


def without_files(problem: Problem) -> Problem:
    """The problem, in words that can't be a file's."""
    if problem.reason in _SAFE_REASONS or _SAFE.fullmatch(problem.message):
        return problem
    return replace(problem, message=UNSAID)
