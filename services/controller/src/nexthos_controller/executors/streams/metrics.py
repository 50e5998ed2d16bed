"""The metrics of one stream, from those of its host.

Comes in: Prometheus text with a label `stream` on what belongs to one. Goes out: text without that label,
as an engine of its own would say it. What has no such label is the host's, and is nobody's here.

An engine goes on counting for a stream of a name where the one before it ended. So what it has counted when
a life begins is that life's base, and is taken off.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Awaitable, Callable

_LABEL = re.compile(r'(?P<before>\{|,)stream="(?P<stream>[^"\\]*)"(?P<after>,|\})')
_COUNTED = ("counter", "summary", "histogram")
_QUANTILE = re.compile(r'\bquantile="')
FRESH = 1.0  # seconds for which what was read is good for all streams of a host


class Shared:
    """One host's metrics, read once for all who ask at about the same time."""

    def __init__(self, read: Callable[[], Awaitable[str]]) -> None:
        self._read = read
        self._at = 0.0
        self._found: dict[str, str] = {}
        self._reading = asyncio.Lock()

    async def of(self, name: str, fresh: float = FRESH) -> str:
        """One stream's, with all of its lives in that host; "" if it has none."""
        async with self._reading:
            if time.monotonic() - self._at > fresh:
                began = time.monotonic()
                self._found = split(await self._read())
                self._at = began
        return self._found.get(name, "")


def split(text: str) -> dict[str, str]:
    """Each stream's part of the text."""
    parts: dict[str, list[str]] = {}
    about: list[str] = []  # HELP and TYPE of the samples that follow
    told: set[str] = set()
    for line in text.splitlines():
        if line.startswith("#"):
            if told:
                about, told = [], set()
            about.append(line)
        elif (match := _LABEL.search(line)) is not None:
            stream = match["stream"]
            part = parts.setdefault(stream, [])
            if stream not in told:
                told.add(stream)
                part.extend(about)
            part.append(line[: match.start()] + _without(match) + line[match.end() :])
        else:
            told.add("")
    return {stream: "\n".join(lines) + "\n" for stream, lines in parts.items()}


def since(text: str, base: str) -> str:
    """What was counted since `base` was read; what is no counter, as it is."""
    before = dict(_sample(line) for line in base.splitlines() if line and not line.startswith("#"))
    if not before:
        return text
    kind, lines = "", []
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            kind = line.rpartition(" ")[2]
        elif line and not line.startswith("#") and kind in _COUNTED:
            name, value = _sample(line)
            if value >= before.get(name, math.inf) and not _QUANTILE.search(name):
                line = f"{name} {_number(value - before[name])}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def _sample(line: str) -> tuple[str, float]:
    name, _, value = line.rpartition(" ")
    try:
        return name, float(value)
    except ValueError:
        return name, math.nan


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


def _without(match: re.Match[str]) -> str:
    before, after = match["before"], match["after"]
    if before == "{":
        return "" if after == "}" else "{"
    return after
