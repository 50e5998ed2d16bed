"""What of a configuration would be one for all streams of an engine: refused, or told apart by the host.

Comes in: a configuration's text, variables substituted. Goes out: the metrics that it would register, or
CannotRunHere with the line. The engine keeps each of these once for its process (docs/executors.md has
the whole list, made with scripts/shared_state.go):

- `inproc` pipes, by name: one stream's messages would leave by another one's output;
- the counters of the mapping function `count`, by name;
- metrics, by name. Where a name is there already with another type or other labels, the engine panics, or
  writes one stream's values under another one's labels. So a host is given no two that disagree (`hosts`),
  and what disagrees with the engine's own names, or with itself, is refused;
- paths of its HTTP, which an `http_server` without an address and a `dynamic` add to: `../..` in one of
  them takes the place of the API itself, and of another stream's;
- the field `stream` of a line of the log, by which it is known whose that line is.

Most configurations hold none of the words, and are read by no parser. A key is judged wherever it stands:
what a component's own field means by such a name is not known here, and nobody is let by for that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from nexthos_controller.executors.shared.variables import asked_of_the_host
from nexthos_shared.engine import inspect as shape
from nexthos_shared.errors import CannotRunHere
from nexthos_shared.yaml import Unreadable

Metrics = Mapping[str, str]  # by name: type and labels, as they can't differ within an engine

# A key may be written with escapes, and then no word is there to be found.
_OF_INTEREST = re.compile(
    rb"metric|inproc|\blog\b|http_server|\bdynamic\b|count\s*\(|\\[xuU]|\\\s*\n"
)
_COUNT = re.compile(r"""(?<![\w.$])count\(\s*(?:name\s*:\s*)?(["'`]|this\b|root\b|@|\$|meta\b)""")
# Names that the engine registers itself, and those that it makes of a timing's.
_OWN = re.compile(
    r"(?:input_(?:received|connection_(?:up|failed|lost)|latency_ns)"
    r"|output_(?:sent|batch_sent|error|connection_(?:up|failed|lost)|latency_ns)"
    r"|processor_(?:received|batch_received|sent|batch_sent|error|latency_ns)"
    r"|buffer_(?:received|batch_received|sent|batch_sent|latency_ns|active|spillover)"
    r"|cache_(?:success|error|latency_ns|not_found|duplicate)"
    r"|rate_limit_(?:checked|triggered|error)|batch_created|http_request_latency_ns"
    r"|dropped)(?:_count|_sum|_bucket)?"
)
_LABELS = frozenset({"label", "path", "stream"})  # the engine gives them to every metric
# A mapping whose fields can all be told from its text: `root.name = ...`, line by line.
_ANY_FIELD = re.compile(
    r"""\bstream\b|\broot\s*=(?!=)|\broot\s*\.\s*["(]|\bmap\s|\bimport\b|\bfrom\b"""
)


def may_share(text: bytes) -> bool:
    """Whether it must be parsed to know what it shares; False for most."""
    return _OF_INTEREST.search(text) is not None


def shared_of(text: bytes, environment: Mapping[str, str]) -> Metrics:
    """The metrics that it registers. Raises CannotRunHere. Blocks: a second for 128 KiB."""
    if not may_share(text):
        return {}
    metrics: dict[str, str] = {}
    for node in _nodes(text):
        if isinstance(node, ScalarNode):
            _judge_text(node, environment)
        elif isinstance(node, MappingNode):
            for name, key, value in _components(node):
                _judge(name, key, value, metrics)
    return metrics


def agree(ours: Metrics, theirs: Metrics) -> bool:
    """Whether an engine can have both."""
    few, many = sorted((ours, theirs), key=len)
    return all(many.get(name, signature) == signature for name, signature in few.items())


# ---- reading


def _nodes(text: bytes) -> Iterator[Node]:
    """All nodes of the first document, each once, however often it is named."""
    root = _root(text)
    todo, seen = [root] if root is not None else [], set[int]()
    while todo:
        node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if isinstance(node, SequenceNode):
            todo.extend(node.value)
        elif isinstance(node, MappingNode):
            for pair in node.value:
                todo.extend(pair)


def _root(text: bytes) -> Node | None:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        shape.parse_bounded(text)  # so it is within the bounds
        yaml = YAML(typ="safe", pure=True)
        yaml.get_constructor_parser(text.decode())
        found: Node | None = yaml.composer.get_node() if yaml.composer.check_node() else None
    except (YAMLError, Unreadable, ValueError) as error:
        words = f"the configuration can't be taken apart for a shared engine: {error}"
        raise CannotRunHere(words, line=getattr(error, "line", None)) from error
    return found


def _components(node: MappingNode) -> Iterator[tuple[str, Node, Node]]:
    """What may be components in it: name, key and value; with `type: NAME` the value is `plugin`'s."""
    pairs = {key.value: value for key, value in node.value if isinstance(key, ScalarNode)}
    for key, value in node.value:
        if not isinstance(key, ScalarNode):
            continue
        yield str(key.value), key, value
        if key.value == "type" and isinstance(value, ScalarNode):
            yield str(value.value), key, pairs.get("plugin", value)


def _fields(node: Node | None) -> dict[str, Node]:
    if not isinstance(node, MappingNode):
        return {}
    return {str(k.value): v for k, v in node.value if isinstance(k, ScalarNode)}


def _text(node: Node | None) -> str:
    return str(node.value) if isinstance(node, ScalarNode) else ""


def _refused(node: Node, words: str) -> CannotRunHere:
    return CannotRunHere(words, line=node.start_mark.line + 1)


# ---- judging


def _judge(name: str, key: Node, value: Node, metrics: dict[str, str]) -> None:
    """What may be a component of that name."""
    if name == "inproc":
        words = "inproc: its pipes are the shared engine's, and another pipeline's may have the same name"
        raise _refused(key, f"{words}: name another executor")
    if name == "dynamic":
        words = "dynamic: it is changed by way of the engine's own HTTP, which is shared: "
        raise _refused(key, words + "name another executor")
    if name == "http_server" and not _text(_fields(value).get("address")):
        words = "http_server: without an `address` it listens on the engine's own HTTP, which is shared: "
        raise _refused(key, words + "give it one")
    if name == "log":
        _judge_log(value)
    elif name == "metric":
        _judge_metric(key, value, metrics)


def _judge_text(node: ScalarNode, environment: Mapping[str, str]) -> None:
    text = str(node.value)
    for found in _COUNT.finditer(text):
        if "#" not in text[text.rfind("\n", 0, found.start()) + 1 : found.start()]:
            words = (
                "count(...) has one counter of a name for all streams of an engine: write counter()"
            )
            raise _refused(node, words)
    if (asked := asked_of_the_host(text.encode(), environment)) is not None:
        words = f'env("{asked[0] or "..."}") reads the shared engine\'s environment'
        raise _refused(node, words)


def _judge_log(value: Node) -> None:
    fields = _fields(value)
    words = "log: the field `stream` says whose a line is, and is not a pipeline's to write"
    if "stream" in _fields(fields.get("fields")):
        raise _refused(fields["fields"], words)
    if _ANY_FIELD.search(_text(fields.get("fields_mapping"))):
        raise _refused(fields["fields_mapping"], f"{words}: give each field as `root.NAME = ...`")


def _judge_metric(key: Node, value: Node, metrics: dict[str, str]) -> None:
    fields = _fields(value)
    name, kind = _text(fields.get("name")), _text(fields.get("type")).lower()
    labels = sorted(_fields(fields.get("labels")))
    if not name or not kind:
        return  # the engine refuses it
    if _OWN.fullmatch(name):
        raise _refused(key, f"metric {name}: the engine has one of that name itself")
    for label in labels:
        taken = label in _LABELS or label.startswith("__") or not label
        if taken or (kind == "timing" and label == "quantile"):
            raise _refused(key, f"metric {name}: the label {label!r} is the engine's own")
    kind = "counter" if kind == "counter_by" else kind
    named = {name: " ".join((kind, *labels))}
    if kind == "timing":
        named |= {f"{name}{part}": f"of {name}" for part in ("_count", "_sum", "_bucket")}
    if not agree(named, metrics):
        raise _refused(key, f"metric {name}: the name is there already with another type or label")
    metrics.update(named)
