"""A definition's variables on their way to its engine: one variable of the runner, as JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from nexthos_controller.executors.shared import binding
from nexthos_shared.reasons import Problem

MOST = 96 * 1024  # bytes: Linux takes 128 KiB in one variable


def packed(env: Mapping[str, str]) -> str:
    """As the runner reads them. The same variables are always the same text."""
    return json.dumps(dict(sorted(env.items())), ensure_ascii=False, separators=(",", ":"))


def unpacked(text: str) -> dict[str, str]:
    """Never raises: who made a container by hand may have written anything."""
    try:
        env = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    if not isinstance(env, dict):
        return {}
    return {name: value for name, value in env.items() if isinstance(value, str)}


def problems_of(env: Mapping[str, str]) -> Iterator[Problem]:
    """What is too much for one variable."""
    size = len(packed(env).encode())
    if size > MOST:
        words = f"{size} bytes of variables, at most {MOST} go into a container"
        yield binding.cannot("env", words)
