"""Which components' errors a configuration itself deals with: that they fail is no fault of the pipeline.

Comes in: a configuration's bytes. Goes out: the paths of those components, as the engine's log names them.
An error is dealt with where a later step catches it or asks for it, where the output asks for it, and where
another output stands ready. That a message is rejected is not dealing with it: it comes again; and so does
one that a `retry` without an end sends, whatever stands behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nexthos_shared.engine.inspect import parse_bounded
from nexthos_shared.yaml import Unreadable

MOST = 200  # paths
_OF_INTEREST = re.compile(rb"\bcatch\b|\berror(ed)?\(|\berror_source|\bfallback\b|\bdrop_on\b")
_ASKS = re.compile(r"\berror(ed)?\(|\berror_source_")
_ASIDE = frozenset({"branch", "workflow"})  # what they do concerns a copy of the message
_STEPS = frozenset({"processors", "try", "catch", "for_each", "parallel"})
_UNNAMED = frozenset({"cases", "branches"})  # the engine's paths leave them out, and what is below


def handled(config: bytes) -> tuple[str, ...]:
    """Paths such as `root.pipeline.processors.0`: an error there, or below, is dealt with.

    Blocks as long as YAML takes, where a word of interest stands in it. Never raises.
    """
    if not _OF_INTEREST.search(config):
        return ()
    try:
        root = parse_bounded(config)
    except Unreadable:
        return ()
    if not isinstance(root, dict):
        return ()
    found = _Found()
    output, pipeline = root.get("output"), root.get("pipeline")
    steps = pipeline.get("processors") if isinstance(pipeline, dict) else None
    steps = steps if isinstance(steps, list) else []
    last = any(_asks(output)) or any(_diverts(output))
    found.steps("root.pipeline.processors", steps, last)
    later = last or any(_handles(step) for step in steps)
    found.inside("root.input", root.get("input"), later)
    found.inside("root.output", output, any(_diverts(output)))
    found.note("root.processor_resources", later)
    return found.paths()


class _Found:
    def __init__(self) -> None:
        self._is: dict[str, bool] = {}

    def paths(self) -> tuple[str, ...]:
        return tuple(path for path, handled in self._is.items() if handled)[:MOST]

    def note(self, path: str, handled: bool) -> None:
        """Cases of a switch have one path: all of them must be dealt with."""
        self._is[path] = handled and self._is.get(path, True)

    def steps(self, path: str, items: Sequence[Any], later: bool) -> None:
        """What each message passes one after the other."""
        rest = [_handles(item) for item in items]
        for n, item in enumerate(items):
            known = later or any(rest[n + 1 :])
            self.note(f"{path}.{n}", known)
            if not known:
                self.inside(f"{path}.{n}", item, False)

    def inside(self, path: str, component: Any, later: bool) -> None:
        for key, body in component.items() if isinstance(component, dict) else ():
            below = path if key in _UNNAMED else f"{path}.{key}"
            if key in _STEPS and isinstance(body, list):
                self.steps(below, body, later)
            elif key == "fallback" and isinstance(body, list):
                for n, output in enumerate(body):
                    self.note(f"{below}.{n}", n + 1 < len(body) and not _retries_for_ever(output))
                    self.inside(f"{below}.{n}", output, later)
            elif key == "drop_on":
                self.note(below, _drops(body) and not _retries_for_ever(body))
                self.inside(below, body, later)
            elif key in _UNNAMED or (key == "switch" and isinstance(body, list)):
                for part in body.values() if isinstance(body, dict) else body or ():
                    self.inside(below, part, later)
            elif isinstance(body, list):
                for n, part in enumerate(body):
                    self.inside(f"{below}.{n}", part, later)
            else:
                self.inside(below, body, later)


def _handles(step: Any) -> bool:
    """Whether a step deals with errors of steps before it."""
    if isinstance(step, str):
        return _ASKS.search(step) is not None
    if isinstance(step, Mapping):
        return any(
            (key == "catch" and bool(body)) or (key not in _ASIDE and _handles(body))
            for key, body in step.items()
        )
    return isinstance(step, list) and any(_handles(part) for part in step)


def _drops(body: Any) -> bool:
    """Whether a `drop_on` drops messages that fail, and not only those that wait too long."""
    return isinstance(body, dict) and bool(body.get("error") or body.get("error_patterns"))


def _retries_for_ever(output: Any) -> bool:
    """Whether an error inside never gets out, because a `retry` without an end is around it."""
    body = output.get("retry") if isinstance(output, dict) else None
    if isinstance(body, dict):
        backoff = body.get("backoff")
        longest = backoff.get("max_elapsed_time") if isinstance(backoff, dict) else None
        if not body.get("max_retries") and longest in (None, "", "0", "0s"):
            return True
    return any(_retries_for_ever(part) for part in _parts(output))


def _asks(output: Any) -> Iterator[bool]:
    """Where an output looks at errors of messages: to route, to name or to change them."""
    if isinstance(output, str) and _ASKS.search(output):
        yield True
    for part in _parts(output):
        yield from _asks(part)


def _diverts(output: Any) -> Iterator[bool]:
    """Where messages that carry an error are refused by one output, and taken by the next."""
    if isinstance(output, dict):
        choices = output.get("fallback")
        if isinstance(choices, list) and any(_has(c, "reject_errored") for c in choices[:-1]):
            yield True
    for part in _parts(output):
        yield from _diverts(part)


def _has(node: Any, key: str) -> bool:
    return (isinstance(node, dict) and key in node) or any(_has(p, key) for p in _parts(node))


def _parts(node: Any) -> Sequence[Any]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []
