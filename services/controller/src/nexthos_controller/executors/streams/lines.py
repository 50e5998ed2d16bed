"""The lines of one stream, from a log that all streams of a host share.

Comes in: raw lines. Goes out: those of one stream. The engine's own carry the field `stream`. What a stream
prints (an output `stdout`, a program that it calls) carries nothing: it is shown where the host has never
had another stream, and nowhere else, since nobody can tell whose it is.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

from nexthos_controller.executors.base import LogLine
from nexthos_controller.executors.lines import seconds_of
from nexthos_controller.executors.machine import logfile
from nexthos_shared.foreign import read_object

KEPT = 200  # lines that are kept of a life that has ended
SEARCHED = (
    4 * 1024 * 1024
)  # bytes of a host's log, from its end, in which a stream's lines are sought


class Sieve:
    """Tells whose a line is."""

    def __init__(self, name: str, alone: bool) -> None:
        self._mark = b'"stream":' + json.dumps(name).encode()
        self._name = name
        self._alone = alone

    def read(self, raw: bytes) -> LogLine | None:
        """The line, if it is this stream's."""
        mine = self._mark in raw
        if not mine and not self._alone:
            return None
        text = raw.decode("utf-8", "replace").rstrip("\r")
        entry = read_object(raw) if text.startswith("{") else None
        if entry is not None and {"level", "msg"} <= entry.keys():
            if entry.get("stream") == self._name:
                return LogLine(text, "log", seconds_of(entry.get("time")))
            if "@service" in entry:
                return None  # the host's own
        return LogLine(text, "output") if self._alone else None


def written_since(log: Path, offset: int) -> tuple[list[bytes], int]:
    """Whole lines of a host's log since `offset`, as far as they are searched, and up to where they go."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            lines = [] if offset <= size else _lines_of(logfile.older(log))
            begin = max(offset if offset <= size else 0, size - SEARCHED)
            file.seek(begin)
            read = file.read(size - begin)
    except OSError:
        return [], 0
    *whole, rest = read.split(b"\n")
    return lines + whole, size - len(rest)


def _lines_of(log: Path) -> list[bytes]:
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - SEARCHED))
            return file.read().splitlines()
    except OSError:
        return []


def keep(raw: Iterable[bytes], sieve: Sieve, file: Path) -> None:
    """Put the last lines of a life that has ended behind those of earlier ones. Raises OSError."""
    last = deque((line for line in raw if sieve.read(line) is not None), maxlen=KEPT)
    if last:
        with open(file, "ab", opener=logfile.private) as kept:
            kept.writelines(line + b"\n" for line in last)
        if file.stat().st_size > logfile.LIMIT // 10:
            file.rename(logfile.older(file))


def kept(file: Path, name: str, count: int) -> list[LogLine]:
    """The last lines of lives that have ended."""
    lines, _ = logfile.last_lines(file, count)
    sieve = Sieve(name, alone=True)
    return [line for raw in lines if (line := sieve.read(raw)) is not None]


async def follow(
    log: Path, position: int, sieve: Sieve, lives: Callable[[], bool]
) -> AsyncIterator[LogLine]:
    """Lines as they are completed, until the end of the log of what no longer lives."""
    follower = logfile.Follower(log, position, "")
    living = True
    while living:
        living = lives()  # asked before the last look
        while raw := follower.more():
            for line in raw:
                if (found := sieve.read(line)) is not None:
                    yield found
            await asyncio.sleep(0)
        if living:
            await asyncio.sleep(logfile.FOLLOW_EVERY)
