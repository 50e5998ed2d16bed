"""The metrics of one stream, from those of its host.

Comes in: Prometheus text with a label `stream` on what belongs to one. Goes out: text without that label,
as an engine of its own would say it. What has no such label is the host's, and is nobody's here.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable

_LABEL = re.compile(r'(?P<before>\{|,)stream="(?P<stream>[^"\\]*)"(?P<after>,|\})')
FRESH = 1.0  # seconds for which what was read is good for all streams of a host


class Shared:
    """One host's metrics, read once for all who ask at about the same time."""

    def __init__(self, read: Callable[[], Awaitable[str]]) -> None:
        self._read = read
        self._at = 0.0
        self._found: dict[str, str] = {}
        self._reading = asyncio.Lock()

    async def of(self, name: str, fresh: float = FRESH) -> str:
        """One stream's; "" if it has none."""
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


def _without(match: re.Match[str]) -> str:
    before, after = match["before"], match["after"]
    if before == "{":
        return "" if after == "}" else "{"
    return after
