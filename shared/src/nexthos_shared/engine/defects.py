"""What the engine's lint lets pass, and its start or its first message then fails on.

Comes in: a configuration's bytes, the environment of its run. Goes out: problems with line and column.
Must not know files or executors, and opens nothing: all of it is told by the text alone.

Measured with bento v1.20.0: `lint` takes any text as an interval and any name as a resource; a second
document and the first of two equal keys are dropped without a word, and merge keys do nothing at run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from nexthos_shared.engine.schedule import fault_of
from nexthos_shared.engine.tree import Node, read_tree, walk
from nexthos_shared.reasons import Problem, Reason

EMPTY = "the configuration is empty"
NO_MAPPING = "the configuration is no mapping: write `input:`, `pipeline:` and `output:`"
_NOTHING = re.compile(r"(?:\s|#[^\n]*(?:\n|\Z)|(?m:^(?:---|\.\.\.)[ \t]*$))*")
_VARIABLE = re.compile(r"\$\{([0-9A-Za-z_.]+)(?::([^{}]*))?\}")
_OF_CACHES = frozenset({"cached", "dedupe"})  # their field `cache` names one


def refused(config: bytes, environment: Mapping[str, str]) -> list[Problem]:
    """What is surely wrong with it, whichever engine reads it. Blocks as `read_tree`."""
    if _NOTHING.fullmatch(config.decode("utf-8-sig", errors="replace")):
        return [Problem(Reason.LINT_FAILED, EMPTY, line=1)]
    tree = read_tree(config)
    root = tree.root
    if root is None:
        return tree.problems
    if root.is_null or root.pairs == []:
        return [Problem(Reason.LINT_FAILED, EMPTY, line=root.line)]
    if root.pairs is None:
        if "${" in (root.text or ""):
            return tree.problems  # a variable may hold all of it
        return [Problem(Reason.LINT_FAILED, NO_MAPPING, line=root.line, column=root.column)]
    found = [*tree.problems, *_schedules(root, environment), *_resources(root, environment)]
    return sorted(found, key=lambda p: (p.line or 0, p.column or 0))


def filled(text: str, environment: Mapping[str, str]) -> str:
    """A scalar as the engine reads it; a variable that is missing stays."""
    return _VARIABLE.sub(
        lambda m: environment.get(m[1]) or (m[2] if m[2] is not None else m[0]), text
    )


def _schedules(root: Node, environment: Mapping[str, str]) -> Iterator[Problem]:
    for around, key, value in walk(root):
        if (around, key.text) == ("generate", "interval") and value.text:
            text = filled(value.text, environment)
            if "${" not in text and (fault := fault_of(text)):
                yield _at(value, f"interval: {fault}")


def _resources(root: Node, environment: Mapping[str, str]) -> Iterator[Problem]:
    labels = _labels(root, environment)
    for kind, node in _references(root):
        name = filled(node.text or "", environment)
        if not name or "${" in name:
            continue
        known = labels.get(kind, set()) if kind else set().union(*labels.values())
        if name not in known:
            words = f"no {kind.replace('_', ' ') or 'resource'} {name!r} is in this configuration"
            section = f"{kind}_resources" if kind else "..._resources"
            yield _at(node, f"{words}: add it below `{section}` (other files are not loaded)")


def _labels(root: Node, environment: Mapping[str, str]) -> dict[str, set[str]]:
    """Names by kind; those of the older form `resources: {caches: {NAME: ...}}` are of every kind."""
    found: dict[str, set[str]] = {}
    for key, value in root.pairs or ():
        if not (key.text or "").endswith("_resources"):
            continue
        names = (item.get("label") for item in value.items or ())
        found[(key.text or "").removesuffix("_resources")] = {
            filled(n.text, environment) for n in names if n is not None and n.text
        }
    return found


def _references(root: Node) -> Iterator[tuple[str, Node]]:
    """The kind ("" if it can't be told) and the name of each resource that is referred to."""
    if root.get("resources") is not None:
        return  # the older form, which engines refuse or read in their own way
    for around, key, value in walk(root):
        if key.text == "resource" and around in ("cache", "rate_limit"):
            yield around, value
        elif key.text == "cache" and around in _OF_CACHES:
            yield "cache", value
        elif key.text == "rate_limit" and value.text is not None:
            yield "rate_limit", value
        elif key.text == "target" and around == "cache":
            yield "cache", value
        elif key.text == "multilevel" and value.items:
            yield from (("cache", item) for item in value.items)
        elif key.text == "resource" and around in _PLACES:
            yield _PLACES[around], value


# Where a component stands: `resource` there is one, elsewhere it may be a field of something else.
_PLACES = {
    "input": "input",
    "inputs": "input",
    "output": "output",
    "outputs": "output",
    "processors": "processor",
}


def _at(node: Node, words: str) -> Problem:
    return Problem(Reason.LINT_FAILED, words, line=node.line, column=node.column)
