"""From a configuration to what a shared engine takes as a stream: its text, with other sections blanked.

Comes in: the pinned bytes, and the environment that an engine of this pipeline alone would get. Goes
out: the body of the request that creates the stream, or a TerminalError: CannotRunHere for what can't
share a process, with the line; InvalidConfig for a variable that nobody gives it.

A stream is `input`, `buffer`, `pipeline` and `output`; all else is the host's. Sections are not written
anew but blanked, line by line, so the lines and columns in the engine's own errors are the file's. What
the process executor's flags override anyway is dropped; what would change meaning is refused, since it
would be shared with others (resources are global in this mode) or ignored. A section that is not known
here stays: the engine refuses it in its own words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nexthos_controller.executors.shared.variables import (
    asked_of_the_host,
    protect,
    substitute,
    unprotectable,
)
from nexthos_controller.executors.streams.shares import Metrics, may_share, shared_of
from nexthos_shared.engine import inspect as shape
from nexthos_shared.errors import CannotRunHere, InvalidConfig
from nexthos_shared.reasons import Reason
from nexthos_shared.yaml import BeyondBounds, Unreadable, events

OURS = frozenset({"input", "buffer", "pipeline", "output"})
_DROPPED = frozenset({"http", "shutdown_delay", "shutdown_timeout", "tests"})
_RESOURCES = "resources are shared by all streams of an engine: name another executor"
_REFUSED = {
    **{f"{kind}_resources": _RESOURCES for kind in ("input", "cache", "processor", "output")},
    "rate_limit_resources": _RESOURCES,
    "resources": _RESOURCES,
    "error_handling": "it would hold for all streams of the engine",
}
_OVERRIDDEN = frozenset(
    {"format", "add_timestamp", "level_name", "message_name", "timestamp_name", "file"}
)
_PLAIN = re.compile(rb"(?:input|buffer|pipeline|output)[ \t]*:(?=\s|$)")
_AT_MARGIN = re.compile(rb"^[^\s#].*", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Section:
    """A key of the document and its value: `start` to `end` in characters; `line` counts from 1."""

    name: str
    start: int
    end: int
    line: int
    value: Any


@dataclass(frozen=True, slots=True)
class Body:
    """What a host is sent, and what it then has of it for itself."""

    content: bytes
    metrics: Metrics


def body_of(config: bytes, environment: Mapping[str, str]) -> Body:
    """The body. Blocks: a second for 128 KiB that must be parsed; 0.1 ms where nothing need be."""
    _is_text(config)
    text, missing = substitute(config, environment)
    if missing:
        name = missing[0]
        words = f"${{{name}}} is used and not set: put {name} into `env`, or write a default"
        raise InvalidConfig(words, reason=Reason.VARIABLE_MISSING, field=f"env.{name}")
    if (at := unprotectable(text)) is not None:
        words = "escapes ${{...}} inside one another can't be handed to a shared engine"
        raise CannotRunHere(words, line=text.count(b"\n", 0, at) + 1)
    if (asked := asked_of_the_host(text, environment)) is not None:
        name, at = asked
        words = (
            f"env(\"{name or '...'}\") reads the shared engine's environment, not this pipeline's: "
        )
        words += f"write ${{{name or 'NAME'}}} where the value is wanted, in quotes if it is a text"
        raise CannotRunHere(words, line=text.count(b"\n", 0, at) + 1)
    metrics = shared_of(text, environment)
    return Body(protect(text if is_plain(text) else _stripped(text)), metrics)


def _is_text(config: bytes) -> None:
    """As an engine's file must be; in a request's body it would take UTF-16, too."""
    try:
        config.decode()
    except UnicodeDecodeError as error:
        words = f"not UTF-8: {error.reason} at byte {error.start}"
        line = config.count(b"\n", 0, error.start) + 1
        raise InvalidConfig(words, reason=Reason.CONFIG_NOT_TEXT, line=line) from error


def is_cheap(config: bytes) -> bool:
    """Whether it needs no parser, unless a variable brings in what does."""
    return is_plain(config) and not may_share(config)


def is_plain(text: bytes) -> bool:
    """Whether surely nothing but the four sections is there, told without a YAML parser (4 ms)."""
    lines = _AT_MARGIN.findall(text)
    return bool(lines) and all(_PLAIN.match(line) for line in lines)


def _stripped(text: bytes) -> bytes:
    try:
        decoded = text.decode()
        sections = list(_sections(text, decoded))
    except UnicodeDecodeError:
        return text  # the engine says what is wrong with it
    except Unreadable as error:
        if error.line is not None and not isinstance(error, BeyondBounds):
            return text  # the engine says it better
        words = f"the configuration can't be taken apart for a shared engine: {error}"
        raise CannotRunHere(words, line=error.line) from error
    for section in sections:
        _refuse(section)
    return _blanked(decoded, sections).encode()


def _refuse(section: Section) -> None:
    words = _REFUSED.get(section.name) if section.value not in (None, {}, []) else None
    if section.name == "metrics" and section.value not in (None, {}, {"prometheus": {}}):
        words = "metrics are the shared engine's: only prometheus without options can be had"
    elif section.name == "tracer" and section.value not in (None, {}, {"none": {}}):
        words = "traces are the shared engine's, which has no tracer"
    elif section.name == "logger" and isinstance(section.value, dict):
        others = sorted(section.value.keys() - _OVERRIDDEN - {"level"})
        if str(section.value.get("level") or "INFO").upper() != "INFO":
            words = "the log's level is the shared engine's: INFO"
        elif others:
            words = f"the log is the shared engine's: {others[0]} can't be set"
    if words is not None:
        raise CannotRunHere(f"{section.name}: {words}", field=section.name, line=section.line)


def _dropped(name: str) -> bool:
    return name in _DROPPED or name in _REFUSED or name in ("logger", "metrics", "tracer")


def _blanked(text: str, sections: list[Section]) -> str:
    for number, section in enumerate(sections):
        if not _dropped(section.name):
            continue
        last = number + 1 == len(sections)
        # In `{a: 1, b: 2}` the comma goes too: after it, or before it where nothing follows.
        begin = section.start
        if last and text[begin - 1 : begin] not in ("", "\n") and number > 0:
            begin = max((s.end for s in sections[:number] if not _dropped(s.name)), default=begin)
        end = section.end if last else sections[number + 1].start
        text = text[:begin] + re.sub(r"[^\n]", " ", text[begin:end]) + text[end:]
    return text


def _sections(text: bytes, decoded: str) -> Iterator[Section]:
    """The document's keys in their order. Raises Unreadable, and CannotRunHere for a lost anchor."""
    root = shape.parse_bounded(text)
    if not isinstance(root, dict):
        return
    depth, key = 0, None
    lost: set[str] = set()
    for event in events(decoded, most=shape.MAX_EVENTS):
        kind = type(event).__name__
        if kind.startswith(("Stream", "Document")):
            continue
        depth -= kind.endswith("EndEvent")
        if depth == 0 and kind.endswith("EndEvent"):
            return
        if depth == 1 and key is None:
            key = event
        elif key is not None:
            _follow_anchor(key, event, kind, lost)
            if depth == 1 and not kind.endswith("StartEvent"):
                yield _section(key, event, root)
                key = None
        depth += kind.endswith("StartEvent")


def _follow_anchor(key: Any, event: Any, kind: str, lost: set[str]) -> None:
    """Note an anchor in a section that is dropped; refuse its use in one that stays."""
    anchor = getattr(event, "anchor", None)
    if anchor is None or kind.endswith("EndEvent"):
        return
    dropped = _dropped(_name(key))
    if kind != "AliasEvent" and dropped:
        lost.add(anchor)
    elif kind == "AliasEvent" and not dropped and anchor in lost:
        words = f"*{anchor} stands for something in a section that a stream can't have"
        raise CannotRunHere(words, line=event.start_mark.line + 1)


def _name(key: Any) -> str:
    return str(getattr(key, "value", ""))


def _section(key: Any, last: Any, root: dict[str, Any]) -> Section:
    where, name = key.start_mark, _name(key)
    return Section(name, where.index, last.end_mark.index, where.line + 1, root.get(name))
