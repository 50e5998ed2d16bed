"""What a configuration contains that matters outside the engine. It is read, never rewritten.

Comes in: bytes as stored, whatever they are. Goes out: a `ConfigShape`; never an exception. Must not
know what will run it.

Read as YAML events into plain dicts, lists and texts: no resolver, so `on` and `yes` stay the texts that
they are for the engine, and no recursion. Bounded by size, depth and number of events, and an alias stands
for the node it names, so a YAML bomb costs what its bytes cost. ruamel takes about 4 ms for 700 bytes, a
tenth of an engine's start: configurations without a word of interest are therefore not parsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nexthos_shared.yaml import MAX_DEPTH, BeyondBounds, Unreadable, events, scalar

MAX_PARSED_BYTES = 128 * 1024  # about 0.8 s
MAX_EVENTS = 50_000

_OF_INTEREST = re.compile(
    rb"metrics|dynamic|http_server|count|file|csv|parquet|stdin|read_until|sequence|sql_|\\[ux]"
)
_INPUT_KEY = re.compile(rb"^input[ \t]*:[ \t]*(?:#.*)?\r?\n(?=[ \t]+[^\s#])", re.MULTILINE)
_METRICS_KEY = re.compile(rb"""^["']?metrics["']?\s*:""", re.MULTILINE)

_MAY_NAME_METRICS = re.compile(rb"metrics|\\[ux]")


@dataclass(frozen=True, slots=True)
class ConfigShape:
    """What stands in a configuration. `known` is False if it could not be read within the bounds."""

    known: bool = True
    names_metrics: str | None = None  # type of its `metrics`; "" if it names none that can be told
    http_server_without_address: bool = False  # such a component shares the engine's own HTTP
    finite_input: bool = False  # the input ends by itself
    closed_metrics: bool = False  # nothing can be added to its metrics
    dynamic_input: bool = False  # never connected for the engine, whatever its inputs do

    @property
    def takes_metrics(self) -> bool:
        """Whether `overlay(metrics=True)` is safe: beside another type the engine would exit 1.

        Beside prometheus it adds to the options that are there, unless they are closed.
        """
        return self.scrapable and not self.closed_metrics

    @property
    def scrapable(self) -> bool:
        """Whether the engine's /metrics is Prometheus text."""
        return self.names_metrics in (None, "prometheus")


def read_shape(config: bytes) -> ConfigShape:
    """Return the shape of `config`. Never raises: what can't be read is not `known`."""
    if not _OF_INTEREST.search(config) and _INPUT_KEY.search(config):
        return ConfigShape()
    try:
        root = parse_bounded(config)
    except Unreadable:
        # Better no metrics than an engine that exits because two types are named.
        return ConfigShape(known=False, names_metrics="" if _METRICS_KEY.search(config) else None)
    if not isinstance(root, dict):
        return ConfigShape(known=False)
    return ConfigShape(
        names_metrics=_metrics_type(root.get("metrics")),
        http_server_without_address=any(_unaddressed_servers(root)),
        dynamic_input=any("dynamic" in node for node in _inputs(root)),
        finite_input=_ends(_input_of(root), _labelled_inputs(root)),
        closed_metrics=_closed_metrics(root.get("metrics")),
    )


def leaves_metrics(config: bytes) -> bool:
    """Whether `config` surely names no metrics, told without a YAML parser: no such word is in it."""
    return _MAY_NAME_METRICS.search(config) is None


# ---- reading


def parse_bounded(config: bytes) -> Any:
    """The first document as dicts, lists and texts; None where nothing or null stands. Raises Unreadable."""
    stack: list[_Open] = []
    anchors: dict[str, Any] = {}
    for event in bounded_events(config):
        kind = type(event).__name__
        if kind in ("MappingStartEvent", "SequenceStartEvent"):
            stack.append(_Open({} if kind.startswith("Mapping") else [], event.anchor))
            continue
        if kind in ("MappingEndEvent", "SequenceEndEvent"):
            value, anchor = stack[-1].value, stack.pop().anchor
        elif kind == "ScalarEvent":
            value, anchor = scalar(event), event.anchor
        elif kind == "AliasEvent":
            value, anchor = anchors.get(event.anchor), None
        else:
            continue  # stream and document marks
        if anchor:
            anchors[anchor] = value
        if not stack:
            return value
        stack[-1].add(value)
    return None


def bounded_events(config: bytes, encoding: str = "utf-8") -> Iterator[Any]:
    """The events of a configuration of at most MAX_PARSED_BYTES. Raises Unreadable."""
    if len(config) > MAX_PARSED_BYTES:
        raise BeyondBounds(f"more than {MAX_PARSED_BYTES} bytes")
    try:
        text = config.decode(encoding)
    except UnicodeDecodeError as error:
        raise Unreadable(str(error)) from error
    return events(text, most=MAX_EVENTS)


class _Open:
    """A mapping or sequence that has begun and not ended."""

    __slots__ = ("_key", "_keyed", "anchor", "value")

    def __init__(self, value: Any, anchor: str | None) -> None:
        self.value = value
        self.anchor = anchor
        self._key = ""
        self._keyed = False

    def add(self, item: Any) -> None:
        if isinstance(self.value, list):
            self.value.append(item)
        elif self._keyed:
            if self._key == "<<" and isinstance(item, dict):
                self.value.update({k: v for k, v in item.items() if k not in self.value})
            else:
                self.value[self._key] = item
            self._keyed = False
        else:
            self._key = item if isinstance(item, str) else ""
            self._keyed = True


# ---- judging

_METRICS_FIELDS = frozenset({"mapping", "plugin", "type"})


def _metrics_type(metrics: Any) -> str | None:
    if metrics is None or metrics == {}:
        return None
    if not isinstance(metrics, dict):
        return ""
    if isinstance(metrics.get("type"), str):
        return str(metrics["type"])
    types: list[str] = sorted(metrics.keys() - _METRICS_FIELDS)
    return types[0] if types else ""


def _closed_metrics(metrics: Any) -> bool:
    """Beside `plugin` the engine refuses what we would add; a file that it writes keeps its place."""
    if not isinstance(metrics, dict):
        return False
    options = metrics.get("prometheus")
    return "plugin" in metrics or bool(
        isinstance(options, dict) and options.get("file_output_path")
    )


def _unaddressed_servers(root: dict[str, Any]) -> Iterator[bool]:
    """Say of each `http_server` (input or output) whether it lacks an address of its own."""
    for node in _mappings(root):
        if "http_server" in node:
            server = node["http_server"]
            yield not (isinstance(server, dict) and server.get("address"))


def _inputs(root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All mappings of the input, and of inputs that are resources."""
    return _mappings([root.get("input"), root.get("input_resources")])


def _mappings(root: Any) -> Iterator[dict[str, Any]]:
    """Each mapping once, however it is reached."""
    seen: set[int] = set()
    todo: list[Any] = [root]
    while todo:
        node = todo.pop()
        if id(node) in seen or not isinstance(node, dict | list):
            continue
        seen.add(id(node))
        if isinstance(node, list):
            todo.extend(node)
            continue
        todo.extend(node.values())
        yield node


_SECTIONS = frozenset({"input", "buffer", "pipeline", "output"})


def _input_of(root: dict[str, Any]) -> Any:
    """Its input; where none is written, the engine reads stdin."""
    return root.get("input") or ({"stdin": {}} if _SECTIONS & root.keys() else None)


_ENDING = frozenset({"csv", "file", "parquet", "read_until", "sql_raw", "sql_select", "stdin"})


def _labelled_inputs(root: dict[str, Any]) -> dict[str, Any]:
    resources = root.get("input_resources")
    listed = resources if isinstance(resources, list) else []
    return {
        r["label"]: r for r in listed if isinstance(r, dict) and isinstance(r.get("label"), str)
    }


def _ends(node: Any, labelled: Mapping[str, Any], depth: int = 0) -> bool:
    """Whether the input `node` ends by itself; False where it can't be told."""
    if not isinstance(node, dict) or depth > MAX_DEPTH:
        return False
    if _ENDING & node.keys():
        return True
    if isinstance(generate := node.get("generate"), dict):
        return generate.get("count") not in (None, "", "0")
    if isinstance(node.get("resource"), str):
        return _ends(labelled.get(node["resource"]), labelled, depth + 1)
    for kind in ("sequence", "broker"):
        inputs = node[kind].get("inputs") if isinstance(node.get(kind), dict) else None
        if isinstance(inputs, list) and inputs:
            return all(_ends(child, labelled, depth + 1) for child in inputs)
    return False
