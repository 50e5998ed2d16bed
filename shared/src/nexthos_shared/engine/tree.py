"""A configuration as a tree whose parts know their lines, and what of it the engine passes over.

Comes in: bytes. Goes out: the nodes of the first document, and problems: a document behind it, a key that
stands twice, a merge key. Must not know what components mean. Never raises: what is no YAML before its
variables are filled in, or beyond the bounds of `inspect`, has no tree, and the engine alone judges it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from nexthos_shared.engine.inspect import bounded_events
from nexthos_shared.reasons import Problem, Reason
from nexthos_shared.yaml import Unreadable, mark_of, scalar


@dataclass(slots=True, eq=False)
class Node:
    """A mapping, a sequence or a scalar; `line` and `column` count from 1."""

    line: int
    column: int
    text: str | None = None  # of a scalar; None is null, and what is no scalar
    style: str = ""  # of a scalar: "" is plain, `|` and `>` begin a line below
    items: list[Node] | None = None  # of a sequence
    pairs: list[tuple[Node, Node]] | None = None  # of a mapping

    def get(self, *path: str) -> Node | None:
        """The value of a key, of a key in it and so on."""
        found: Node | None = self
        for name in path:
            pairs = found.pairs if found is not None else None
            found = next((v for k, v in pairs or () if k.text == name), None)
        return found

    @property
    def is_null(self) -> bool:
        """Whether nothing stands here, or null."""
        return self.text is None and self.items is None and self.pairs is None


@dataclass(slots=True)
class Tree:
    """The first document, if it could be read, and what the engine would pass over in silence."""

    root: Node | None = None
    problems: list[Problem] = field(default_factory=list)


def read_tree(config: bytes) -> Tree:
    """Blocks: about a second for 128 KiB, beyond which there is no tree."""
    tree = Tree()
    try:
        events = bounded_events(config, "utf-8-sig")
        tree.root = _first(events, tree.problems)
        _look_behind(events, tree.problems)
    except Unreadable:
        return tree
    return tree


def walk(root: Node | None, above: str = "") -> Iterator[tuple[str, Node, Node]]:
    """Each value of a mapping once: the key around it, the key and the value."""
    todo, seen = [(above, root)] if root is not None else [], set[int]()
    while todo:
        around, node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        todo += [(around, item) for item in reversed(node.items or ())]
        for key, value in node.pairs or ():
            yield around, key, value
        todo += [(key.text or "", value) for key, value in reversed(node.pairs or ())]


def scalars(root: Node | None) -> Iterator[Node]:
    """Each scalar that is no key, once."""
    todo, seen = [root] if root is not None else [], set[int]()
    while todo:
        node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.text is not None:
            yield node
        todo += reversed(node.items or ())
        todo += [value for _, value in reversed(node.pairs or ())]


def _first(events: Iterator[Any], problems: list[Problem]) -> Node | None:
    stack: list[tuple[Node, list[Node]]] = []  # what is open, with what stands in it
    anchors: dict[str, Node] = {}
    for event in events:
        kind = type(event).__name__
        if kind.endswith("EndEvent") and kind.startswith(("Mapping", "Sequence")):
            node, inside = stack.pop()
            _close(node, inside, kind, problems)
        elif kind == "AliasEvent":
            node = anchors.get(event.anchor) or _node(event)
        elif kind in ("MappingStartEvent", "SequenceStartEvent", "ScalarEvent"):
            node = _node(event)
            if event.anchor:
                anchors[event.anchor] = node
            if kind != "ScalarEvent":
                stack.append((node, []))
                continue
        else:
            continue
        if not stack:
            return node
        stack[-1][1].append(node)
    return None


def _node(event: Any) -> Node:
    mark = mark_of(event)
    node = Node(mark.line, mark.column)
    if type(event).__name__ == "ScalarEvent":
        node.text, node.style = scalar(event), event.style or ""
    return node


def _close(node: Node, inside: list[Node], kind: str, problems: list[Problem]) -> None:
    if kind.startswith("Sequence"):
        node.items = inside
        return
    node.pairs = list(zip(inside[::2], inside[1::2], strict=False))
    seen: dict[str, Node] = {}
    for key, _ in node.pairs:
        if key.text is None:
            continue
        if key.text == "<<" and not key.style:
            words = (
                "`<<` merges nothing: the engine does not know merge keys; write the fields out, or "
                "name the whole value by an alias"
            )
            problems.append(_problem(key, words))
        elif key.text in seen:
            words = f"key {key.text!r} stands here twice, first in line {seen[key.text].line}"
            problems.append(_problem(key, f"{words}: one of them would be passed over"))
        seen[key.text] = key


def _look_behind(events: Iterator[Any], problems: list[Problem]) -> None:
    began: Any = None
    try:
        for event in events:
            kind = type(event).__name__
            if kind == "DocumentStartEvent":
                began = event
            elif began is not None and not kind.startswith(("Document", "Stream")):
                if kind == "ScalarEvent" and scalar(event) is None:
                    began = None
                    continue
                break
    finally:
        if began is not None:
            words = "a second document begins here, and the engine reads only the first: remove it"
            problems.append(_problem(_node(began), words))


def _problem(node: Node, words: str) -> Problem:
    return Problem(Reason.LINT_FAILED, words, line=node.line, column=node.column)
