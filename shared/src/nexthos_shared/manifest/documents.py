"""YAML 1.2 (and so JSON) as plain values, with the line and column of every part.

Comes in: text of any kind. Goes out: `Document`s, or `Unreadable` with the place. Must not know what a
manifest is. Values are those that JSON has: a date stays the text that it is, no tag makes an object.
Bounded by events, depth, time and by what aliases add up to, so a YAML bomb costs what its bytes cost.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MAX_EVENTS = 10_000  # of one document; a definition has 64 KiB, its configuration is one event
MAX_EVENTS_OF_ALL = 100_000  # about 2 s
MAX_DEPTH = 64
MAX_WEIGHT = 50_000  # values, aliases written out
MAX_SECONDS = 5.0  # of processor time; 8 MiB of configurations in `|` blocks take half of it

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """A place, counted from 1."""

    line: int
    column: int


class Unreadable(Exception):
    """Not YAML, or beyond the bounds; `mark` is where the parser stood, if it can tell."""

    def __init__(self, message: str, mark: Mark | None = None) -> None:
        super().__init__(message)
        self.mark = mark


@dataclass(slots=True)
class Document:
    """One document. `marks` holds the place of each value and, under `keys`, of each key."""

    value: Any = None
    marks: dict[Path, Mark] = field(default_factory=dict)
    keys: dict[Path, Mark] = field(default_factory=dict)
    blocks: set[Path] = field(default_factory=set)  # literal block scalars: `|`

    def mark(self, path: Path, *, key: bool = False) -> Mark | None:
        """The place of `path`, or of the nearest part around it that is written down."""
        for end in range(len(path), -1, -1):
            if key and (mark := self.keys.get(path[:end])):
                return mark
            if mark := self.marks.get(path[:end]):
                return mark
        return None


def read_documents(text: str) -> list[Document]:
    """All documents of `text`; empty ones have the value None. Raises Unreadable."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError

    try:
        return list(_documents(YAML(typ="safe", pure=True).parse(_Stream(text))))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Mark(mark.line + 1, mark.column + 1) if mark else None
        words = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise Unreadable(words, place) from error
    except Unreadable:
        raise
    except Exception as error:  # ruamel also fails by assertions and lookups on hostile text
        raise Unreadable(" ".join(str(error).split()) or type(error).__name__) from error


class _Stream(io.StringIO):
    """Text that ends when reading it has taken too much of the processor's time.

    The parser needs seconds for a megabyte of one scalar, and neither events nor depth tell of it.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._until = time.process_time() + MAX_SECONDS

    def read(self, size: int | None = -1) -> str:
        if time.process_time() > self._until:
            raise Unreadable("takes too long to read: no pipeline is that large")
        return super().read(size)


@dataclass(slots=True)
class _Open:
    """A mapping or sequence that has begun and not ended."""

    value: Any
    path: Path
    anchor: str | None
    key: str | None = None
    weight: int = 1

    def next_path(self) -> Path:
        if isinstance(self.value, list):
            return (*self.path, len(self.value))
        return self.path if self.key is None else (*self.path, self.key)


def _documents(events: Iterator[Any]) -> Iterator[Document]:
    reader, began = _Reader(), 0
    for number, event in enumerate(events):
        kind = type(event).__name__
        if kind == "DocumentStartEvent":
            reader, began = _Reader(), number
        if number - began > MAX_EVENTS or number > MAX_EVENTS_OF_ALL:
            raise Unreadable("too many parts to be a pipeline", _mark(event))
        if kind == "DocumentStartEvent":
            continue
        if kind == "DocumentEndEvent":
            yield reader.document
        else:
            reader.take(kind, event)


class _Reader:
    """Folds the events of one document into its value."""

    def __init__(self) -> None:
        self.document = Document()
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}

    def take(self, kind: str, event: Any) -> None:
        if kind in ("MappingStartEvent", "SequenceStartEvent"):
            self._begin({} if kind.startswith("Mapping") else [], event)
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            ended = self._stack.pop()
            self._remember(ended.anchor, ended.value, ended.weight)
            self._add(ended.value, ended.weight, event)
        elif kind == "AliasEvent":
            if event.anchor not in self._anchors:
                raise Unreadable(f"alias *{event.anchor} stands for nothing", _mark(event))
            self._place(event)
            self._add(*self._anchors[event.anchor], event)
        elif kind == "ScalarEvent":
            self._scalar(event)

    def _begin(self, value: Any, event: Any) -> None:
        if len(self._stack) >= MAX_DEPTH:
            raise Unreadable(f"more than {MAX_DEPTH} levels deep", _mark(event))
        _check_tag(event)
        if self._stack and isinstance(self._stack[-1].value, dict) and self._stack[-1].key is None:
            raise Unreadable("a key must be text", _mark(event))
        path = self._place(event)
        self._stack.append(_Open(value, path, event.anchor))

    def _scalar(self, event: Any) -> None:
        top = self._stack[-1] if self._stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            self._key(top, event)
            return
        path = self._place(event)
        if event.style == "|":
            self.document.blocks.add(path)
        value = _resolved(event)
        self._remember(event.anchor, value, 1)
        self._add(value, 1, event)

    def _key(self, top: _Open, event: Any) -> None:
        _check_tag(event)
        top.key = str(event.value)
        if top.key in top.value:
            raise Unreadable(f"key {top.key!r} stands here twice", _mark(event))
        self.document.keys[(*top.path, top.key)] = _mark(event)
        self._remember(event.anchor, top.key, 1)

    def _place(self, event: Any) -> Path:
        path = self._stack[-1].next_path() if self._stack else ()
        self.document.marks[path] = _mark(event)
        return path

    def _remember(self, anchor: str | None, value: Any, weight: int) -> None:
        if anchor:
            self._anchors[anchor] = (value, weight)

    def _add(self, value: Any, weight: int, event: Any) -> None:
        if not self._stack:
            self.document.value = value
            return
        top = self._stack[-1]
        top.weight += weight
        if top.weight > MAX_WEIGHT:
            raise Unreadable(f"aliases add up to more than {MAX_WEIGHT} values", _mark(event))
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.key is None:
            raise Unreadable("a key must be text", _mark(event))
        else:
            top.value[top.key] = value
            top.key = None


def _mark(event: Any) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)


# YAML 1.2 core schema, https://yaml.org/spec/1.2.2/#103-core-schema; infinities stay text: JSON has none.
_NULL = {"", "~", "null", "Null", "NULL"}
_TRUE, _FALSE = {"true", "True", "TRUE"}, {"false", "False", "FALSE"}
_INT = re.compile(r"[-+]?[0-9]{1,40}")
_OCTAL, _HEX = re.compile(r"0o[0-7]{1,40}"), re.compile(r"0x[0-9a-fA-F]{1,40}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_TEXT_TAG = "tag:yaml.org,2002:str"


def _check_tag(event: Any) -> None:
    tag = str(event.tag) if event.tag else ""
    if tag and not tag.startswith(("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq", _TEXT_TAG)):
        raise Unreadable(f"tag {tag!r} is not known here", _mark(event))


def _resolved(event: Any) -> Any:
    _check_tag(event)
    text = str(event.value)
    if event.style is not None or event.tag:
        return text
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INT.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text) or _HEX.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text
