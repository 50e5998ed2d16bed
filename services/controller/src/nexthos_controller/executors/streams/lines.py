"""The lines of one stream, from a log that all streams of a host share, and from what the host prints.

Comes in: raw lines. Goes out: those of one stream. The engine's own log is a file of its own, in which each
line says in the field `stream` whose it is. What a stream prints (an output `stdout`, a program that it
calls) says nothing of that, or anything: it is shown where the host has never had another stream, and
nowhere else, and is never taken for a line of the log.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

from nexthos_controller.execution import LogLine
from nexthos_controller.executors.local import logfile
from nexthos_controller.executors.shared.lines import seconds_of
from nexthos_shared.untrusted_json import read_object

KEPT = 200  # lines that are kept of a life that has ended, and of each stream when a log is cut
SEARCHED = (
    4 * 1024 * 1024
)  # bytes of a host's log, from its end, in which a stream's lines are sought
_MARK = b'"stream":"'


Source = tuple[
    Path, int, Callable[[bytes], LogLine | None]
]  # file, position, what a line of it says


def named_in(raw: bytes) -> set[str]:
    """What may be the name of the stream whose line it is: `read` tells."""
    return {part.partition(b'"')[0].decode("ascii", "replace") for part in raw.split(_MARK)[1:]}


def read(raw: bytes, name: str) -> LogLine | None:
    """A line of an engine's log, if it is this stream's."""
    if _MARK + name.encode() + b'"' not in raw:
        return None
    entry = read_object(raw)
    if entry is None or entry.get("stream") != name:
        return None
    text = raw.decode("utf-8", "replace").rstrip("\r")
    return LogLine(text, "log", seconds_of(entry.get("time")))


def printed(raw: bytes) -> LogLine:
    """A line that a stream printed."""
    return LogLine(raw.decode("utf-8", "replace").rstrip("\r"), "output")


def written_since(log: Path, offset: int) -> tuple[list[bytes], int]:
    """Whole lines since `offset`, as far as they are searched, and up to where they go.

    What was cut off since is not among them: each stream has kept its last lines of that.
    """
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            begin = max(offset if offset <= size else 0, size - SEARCHED)
            file.seek(begin)
            read = file.read(size - begin)
    except OSError:
        return [], 0
    *whole, rest = read.split(b"\n")
    return whole, size - len(rest)


def keep(raw: Iterable[bytes], file: Path) -> None:
    """Put the last of these lines behind those that are kept. Raises OSError."""
    last = deque(raw, maxlen=KEPT)
    if last:
        with open(file, "ab", opener=logfile.private) as kept:
            kept.writelines(line + b"\n" for line in last)
        if file.stat().st_size > logfile.LIMIT // 10:
            file.rename(logfile.older(file))


def together(logged: list[LogLine], out: list[LogLine], tail: int) -> list[LogLine]:
    """The last `tail`, of which a flood of output leaves half to the log. Output has no time: it is first."""
    room = max(tail - len(logged), tail // 2)
    out = out[-room:] if room else []
    room = tail - len(out)
    return [*out, *(logged[-room:] if room else [])]


async def follow(
    sources: Iterable[Source],
    lives: Callable[[], bool],
) -> AsyncIterator[LogLine]:
    """Lines as they are completed, of files from a position on, until the end of what no longer lives."""
    followed = [(logfile.Follower(file, position, ""), said) for file, position, said in sources]
    living = True
    while living:
        living = lives()  # asked before the last look
        for follower, said in followed:
            while raw := follower.more():
                for line in raw:
                    if (found := said(line)) is not None:
                        yield found
                await asyncio.sleep(0)
        if living:
            await asyncio.sleep(logfile.FOLLOW_EVERY)
