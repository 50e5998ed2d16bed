r"""What of a configuration can run and will hardly do what it was written for, with what to write.

Comes in: a configuration's bytes, the environment of its run, what is known of where it runs. Goes out:
warnings with line and column. Opens nothing: it is for the person's own machine to say whether a file is
there. Told from the text alone, so a wrong warning is possible, and none of it refuses anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from nexthos_shared.engine.defects import filled
from nexthos_shared.engine.messages import without_values
from nexthos_shared.engine.schedule import zone_fault
from nexthos_shared.engine.tree import Node, read_tree, scalars, walk
from nexthos_shared.names import ENV_NATS_URL
from nexthos_shared.reasons import Problem, Reason


@dataclass(frozen=True, slots=True)
class Where:
    """What is known of its run."""

    executor: str = "process"
    workdir: bool = False  # a folder of the definition's own, from which relative paths start
    replicas: int = 1


def doubts(config: bytes, environment: Mapping[str, str], where: Where) -> list[Problem]:
    """Everything that is odd about it, in the order of its lines. Blocks as `read_tree`."""
    root = read_tree(config).root
    if root is None or root.pairs is None:
        return []
    found = [problem for judge in _JUDGES for problem in judge(_Read(root, environment, where))]
    found = [without_values(problem, environment) for problem in found]
    return sorted(found, key=lambda p: (p.line or 0, p.column or 0))


def unshared(config: bytes, environment: Mapping[str, str], where: Where) -> list[Problem]:
    """What of it its replicas can't share, each with the recipe. Blocks as `read_tree`."""
    root = read_tree(config).root or Node(1, 1)
    found = _replicas(_Read(root, environment, where))
    return [without_values(problem, environment) for problem in found]


def durables(config: bytes, environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """Stream ("" where it names none) and name of each consumer that it makes, and that outlives it."""
    read = _Read(read_tree(config).root or Node(1, 1), environment, Where())
    found: list[tuple[str, str]] = []
    for _, key, value in walk(read.root.get("input")):
        durable = _field(value, "durable", read) if key.text == "nats_jetstream" else ""
        if durable and _field(value, "bind", read) != "true":
            found.append((_field(value, "stream", read), durable))
    return found


def files_read(config: bytes, environment: Mapping[str, str]) -> list[tuple[str, Problem]]:
    """Paths of files that its first message fails without, each with what to say if it is not there."""
    read = _Read(read_tree(config).root or Node(1, 1), environment, Where())
    found: list[tuple[str, Problem]] = []
    for _, key, value in walk(read.root):
        if key.text not in _FILES:
            continue
        for node in value.items or [value]:
            path = read.text(node).removeprefix("file://")
            if path and "${" not in path and "://" not in path:
                words = f"{key.text}: {node.text!r} is not there: every message would fail"
                found.append((path, _at(node, words)))
    return found


_FILES = frozenset({"schema_path", "import_paths"})


@dataclass(frozen=True, slots=True)
class _Read:
    root: Node
    environment: Mapping[str, str]
    where: Where

    def text(self, node: Node) -> str:
        return filled(node.text or "", self.environment)


# ---- addresses of NATS

_NATS = re.compile(r"(?:nats|tls|ws|wss)://\S+")
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})


def _addresses(read: _Read) -> Iterator[Problem]:
    """A host of a compose file's network, or this very machine as a container sees it."""
    for node in scalars(read.root):
        if not node.text or "${" in node.text or not _NATS.match(node.text):
            continue
        for url in node.text.split(","):
            host = _host(url.strip())
            advice = f"write ${{{ENV_NATS_URL}}}, which every execution is given"
            if host in _HERE and read.where.executor == "docker":
                yield _at(node, f"{host} is the container itself, where no NATS is: {advice}")
            elif host and host not in _HERE and "." not in host and ":" not in host:
                words = f"{host!r} is a name of a compose file's network, unknown elsewhere"
                yield _at(node, f"{words}: {advice}")


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "") if "://" in url else ""
    except ValueError:
        return ""


# ---- subjects that are NATS's own

_OWN = re.compile(r"^(\$|_INBOX(\.|$))")
_CORE = frozenset({"nats", "nats_request_reply"})
_WRITERS = frozenset({"nats", "nats_jetstream", "nats_request_reply"})


def _subjects(read: _Read) -> Iterator[Problem]:
    """An input that takes what clients and servers tell each other, an output that writes there."""
    for section, node in read.root.pairs or ():
        is_input = section.text in ("input", "input_resources")
        for _, key, value in walk(node):
            if key.text not in (_CORE if is_input else _WRITERS):
                continue
            subject = value.get("subject")
            text = read.text(subject) if subject is not None else ""
            wide = text.partition(".")[0] in ("*", ">")
            if subject is not None and is_input and (wide or _OWN.match(text)):
                words = "takes the replies and requests of NATS's own clients too, of nexthos among them"
                yield _at(subject, f"{text!r} {words}: name the subjects, such as `orders.>`")
            elif subject is not None and not is_input and _OWN.match(text):
                words = "is what NATS and its clients keep for themselves: write to a subject of your own"
                yield _at(subject, f"{text!r} {words}")


# ---- variables and time zones in mappings

_ENV = re.compile(
    r"""(?<![\w.$])env\(\s*["']([0-9A-Za-z_.]+)["']\s*\)(?P<caught>\s*\.(?:or|catch)\()?"""
)
_ZONE = re.compile(
    r"""\.ts_(?:tz\(\s*|(?:format|strftime)\([^()\n]*,\s*(?:tz:\s*)?)["']([^"'\n]*)["']"""
)


def _mappings(read: _Read) -> Iterator[Problem]:
    for node in scalars(read.root):
        for number, line in enumerate((node.text or "").split("\n")):
            code = line.partition("#")[0]
            for match in _ENV.finditer(code):
                if (
                    match["caught"]
                    or match[1] in read.environment
                    or read.where.executor == "streams"
                ):
                    continue
                words = f'env("{match[1]}") is null: give {match[1]} in `env` or with -e'
                yield _within(node, number, f"{words}, or write ${{{match[1]}}}, which lint checks")
            for match in _ZONE.finditer(code):
                if "${" not in match[1] and (fault := zone_fault(match[1])):
                    yield _within(node, number, fault)


# ---- what is given to every engine, whatever its file says

_OVERRIDDEN = {
    "http": frozenset(
        {"address", "enabled", "cert_file", "key_file", "debug_endpoints", "basic_auth"}
    ),
    "logger": frozenset({"file"}),
}
_INSTEAD = {
    "http": "it is overridden, and closed to others: give an http_server an `address` of its own",
    "logger": "it is overridden: read the log with `nexthos logs`",
}
_TIMES = frozenset({"shutdown_delay", "shutdown_timeout"})


def _overridden(read: _Read) -> Iterator[Problem]:
    for key, value in read.root.pairs or ():
        name = key.text or ""
        if name in _TIMES:
            yield _at(key, f"{name}: it is overridden: write `stop_timeout` in a manifest")
        for inner, _ in value.pairs or ():
            if inner.text in _OVERRIDDEN.get(name, ()):
                yield _at(inner, f"{name}.{inner.text}: {_INSTEAD[name]}")


def _figures(read: _Read) -> Iterator[Problem]:
    """Metrics to which the process's own figures can't be added."""
    file, plugin = (
        read.root.get("metrics", *path)
        for path in (("prometheus", "file_output_path"), ("plugin",))
    )
    if file is not None and file.text:
        words = "metrics.prometheus.file_output_path: CPU and memory are not shown in `top`: leave it out"
        yield _at(file, words)
    elif plugin is not None:
        words = "metrics.plugin: CPU and memory are not shown in `top`: write `metrics: {prometheus: {...}}`"
        yield _at(plugin, words)


# ---- paths of what is written

_WRITTEN = {("file", "path"), ("file", "directory"), ("sqlite", "path")}


def _paths(read: _Read) -> Iterator[Problem]:
    if read.where.workdir:
        return
    for section, node in read.root.pairs or ():
        if section.text not in ("output", "buffer", "cache_resources", "output_resources"):
            continue
        for around, key, value in walk(node, ""):
            path = read.text(value)
            if (around, key.text) not in _WRITTEN or not path or path.startswith(("/", "${")):
                continue
            words = f"{path!r} is relative: it lands in the execution's own folder and goes with it"
            mended = "write an absolute path"
            if read.where.executor == "process":
                mended += ", or `executor_options: {workdir: /...}` in a manifest"
            yield _at(value, f"{words}: {mended}")


# ---- several replicas


def _replicas(read: _Read) -> Iterator[Problem]:
    if read.where.replicas < 2:
        return
    for section, node in read.root.pairs or ():
        if section.text not in ("input", "input_resources"):
            continue
        for _, key, value in walk(node):
            words = _of_replicas(key.text or "", value, read)
            if words:
                yield _at(key, words)


# Inputs that begin at the beginning wherever they run, inputs that hear all that is said, and inputs that
# bind an address.
_WHOLE = frozenset(
    (
        "csv",
        "file",
        "file_tail",
        "mongodb",
        "parquet",
        "sftp",
        "sql_raw",
        "sql_select",
        "stdin",
        "subprocess",
    )
)
_HEARD = frozenset(
    (
        "fsevent",
        "http_client",
        "nats_kv",
        "nats_object_store",
        "redis_pubsub",
        "socket",
        "websocket",
    )
)
_BOUND = frozenset(("http_server", "socket_server"))


def _of_replicas(name: str, value: Node, read: _Read) -> str:
    many = read.where.replicas
    if name in _WHOLE:
        return f"each of {many} replicas reads all of it: run it once, the rest in a pipeline of its own"
    if name in _HEARD:
        return f"each of {many} replicas gets every message: run it once, the rest in a pipeline of its own"
    if name == "mqtt" and _field(value, "dynamic_client_id_suffix", read) != "nanoid":
        return (
            f"{many} replicas with one `client_id` end each other's connection, and each gets every "
            "message: write `dynamic_client_id_suffix: nanoid` and subscribe to `$share/NAME/TOPIC`"
        )
    if name in _BOUND and read.where.executor != "docker":
        address = _field(value, "address", read)
        if not address or address.endswith(":0"):
            return ""
        return (
            f"{address} can be bound by one of {many} replicas on one machine: run it once, or with "
            "`executor: docker`, where each has an address of its own"
        )
    if name == "generate":
        return f"each of {many} replicas makes every message: run it once, the rest in a pipeline of its own"
    if name == "nats" and not _field(value, "queue", read):
        return f"each of {many} replicas gets every message: write `queue: NAME` to share them"
    if name == "nats_jetstream" and not _field(value, "queue", read):
        durable = _field(value, "durable", read)
        if _field(value, "bind", read) == "true":
            return ""  # a pull consumer shares by itself
        if not durable:
            return f"each of {many} replicas gets every message: write `durable: NAME` and `queue: NAME`"
        return (
            f"a durable is one replica's alone, and {many - 1} of {many} never get ready: write "
            f"`queue: NAME` beside it, after `nats consumer rm STREAM {durable}` where it exists already"
        )
    return ""


def _field(node: Node, name: str, read: _Read) -> str:
    found = node.get(name)
    return read.text(found) if found is not None else ""


_JUDGES: tuple[Callable[[_Read], Iterator[Problem]], ...] = (
    _addresses,
    _subjects,
    _mappings,
    _overridden,
    _figures,
    _paths,
    _replicas,
)


def _at(node: Node, words: str) -> Problem:
    return Problem(Reason.HARDLY_MEANT, words, line=node.line, column=node.column)


def _within(node: Node, number: int, words: str) -> Problem:
    """At a line of a scalar; of a block only the line is known, which begins below its mark."""
    if node.style in ("|", ">"):
        line = node.line + 1 + number if node.style == "|" else node.line
        return Problem(Reason.HARDLY_MEANT, words, line=line)
    return _at(node, words)
