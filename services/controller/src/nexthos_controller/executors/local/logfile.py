"""An execution's log: lines from its end backwards, lines as they come, and a bound on its size.

The engine holds the file open for appending, so it is cut in place: the newest half of the limit goes to
`engine.log.1` and the file becomes empty. What is lost is counted in a line of our own.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path

from nexthos_controller.execution import LogLine
from nexthos_controller.executors.shared.lines import own_line, read_line

LIMIT = 10 * 1024 * 1024  # bytes of engine.log; engine.log.1 has at most half of it
BLOCK = 64 * 1024  # bytes read at once
BIND_TAIL = 16 * 1024  # bytes that are searched for the engine's word that its port is taken
MAX_LINE = 64 * 1024  # bytes; a longer line comes in parts
MAX_BEHIND = 4 * 1024 * 1024  # bytes that a follower may lag before lines are dropped

FOLLOW_EVERY = 0.1  # seconds between looks at a log that is followed
CATCH_UP = 0.05  # seconds until the next look at a log that grows fast
AT_LEISURE = 1.0  # seconds, else


def older(log: Path) -> Path:
    """The file that takes what is cut off."""
    return log.with_name(f"{log.name}.1")


# ---- the end of it


def last_lines(log: Path, count: int, whole: bool = False) -> tuple[list[bytes], int]:
    """The last `count` lines, oldest first, and the size of `log` up to which they go.

    `whole`: not the last one if it is unfinished, for who goes on reading from there.
    """
    lines, end = _last_lines(log, count, whole)
    if len(lines) < count:
        lines = _last_lines(older(log), count - len(lines), False)[0] + lines
    return lines, end


def _last_lines(log: Path, count: int, whole: bool) -> tuple[list[bytes], int]:
    try:
        with log.open("rb") as file:
            end = at = file.seek(0, os.SEEK_END)
            blocks: list[bytes] = []
            newlines = 0
            while at > 0 and newlines <= count:
                step = min(BLOCK, at)
                at -= step
                file.seek(at)
                blocks.append(file.read(step))
                newlines += blocks[-1].count(b"\n")
    except FileNotFoundError:
        return [], 0
    *lines, rest = b"".join(reversed(blocks)).split(b"\n")
    if rest and whole:
        end -= len(rest)
    elif rest:
        lines.append(rest)
    return lines[-count:] if count else [], end


def could_not_bind(log: Path, port: int, offset: int) -> bool:
    """Whether an engine noted, after `offset`, that its port is taken: it only notes it and runs on."""
    words = f":{port}: bind: ".encode()
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(offset if offset <= size else 0, size - BIND_TAIL))
            return words in file.read(BIND_TAIL)
    except OSError:
        return False


# ---- as it comes


class Follower:
    """Reads what is appended to a log from `position` on, a block at a time."""

    def __init__(self, log: Path, position: int, pipeline_id: str) -> None:
        self._log = log
        self._position = position
        self._id = pipeline_id
        self._rest = b""

    async def follow(self, lives: Callable[[], bool]) -> AsyncIterator[LogLine]:
        """Lines as they are completed, until the end of the log of what no longer lives."""
        living = True
        while living:
            living = lives()  # asked before the last look
            while lines := self.more():
                for raw in lines:
                    yield read_line(raw, self._id)
                await asyncio.sleep(0)  # a torrent must not have the loop for itself
            if living:
                await asyncio.sleep(FOLLOW_EVERY)
        if self._rest:
            yield read_line(self._rest, self._id)

    def more(self) -> list[bytes]:
        """Lines that were completed since; empty if there are none now."""
        lines: list[bytes] = []
        try:
            size = self._log.stat().st_size
            if size < self._position:
                self._position, self._rest = 0, b""  # it was cut
            if (dropped := size - self._position) > MAX_BEHIND:
                self._position, self._rest = size - BLOCK, b""
                words = f"{dropped - BLOCK} bytes of the log came too fast to be followed"
                lines.append(own_line(words, self._id)[:-1])
            with self._log.open("rb") as file:
                file.seek(self._position)
                read = file.read(BLOCK)
        except FileNotFoundError:
            return lines
        self._position += len(read)
        *whole, self._rest = (self._rest + read).split(b"\n")
        if len(self._rest) > MAX_LINE:
            whole.append(self._rest)
            self._rest = b""
        return lines + whole


# ---- its size


def cut(log: Path, limit: int, pipeline_id: str) -> None:
    """Make `log` empty and keep the newest `limit / 2` bytes of it beside it. Blocks; raises OSError.

    The last line of what is kept counts what was lost, with what came between reading and cutting.
    """
    fresh = older(log).with_name(f"{older(log).name}.new")
    with log.open("r+b") as file, open(fresh, "wb", opener=private) as kept:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - limit // 2, 0))
        if file.tell():
            file.readline(MAX_LINE)  # begin with a whole line
        begin, last = file.tell(), b"\n"
        for block in _blocks(file.read, size - begin):
            kept.write(block)
            last = block
        dropped = begin + os.fstat(file.fileno()).st_size - size
        file.truncate(0)
        words = f"{dropped} bytes of the log were dropped to keep it small"
        kept.write(b"" if last.endswith(b"\n") else b"\n")
        kept.write(own_line(words, pipeline_id))
    fresh.rename(older(log))


def _blocks(read: Callable[[int], bytes], size: int) -> Iterator[bytes]:
    while size > 0 and (block := read(min(size, 16 * BLOCK))):
        size -= len(block)
        yield block


def private(path: str, flags: int) -> int:
    """For `open(opener=private)`: what is made is readable by nobody else."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


class Growth:
    """Sizes of logs over time: which must be cut, and when to look again."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._sizes: dict[Path, tuple[int, float]] = {}
        self._fastest = 0.0  # bytes per second, at the last look

    def too_large(self, logs: Iterable[Path]) -> list[Path]:
        """Those of `logs` that are beyond the limit."""
        now = time.monotonic()
        sizes: dict[Path, tuple[int, float]] = {}
        self._fastest = 0.0
        for log in logs:
            try:
                size = log.stat().st_size
            except OSError:
                continue
            before, when = self._sizes.get(log, (size, now - AT_LEISURE))
            self._fastest = max(self._fastest, (size - before) / max(now - when, 0.001))
            sizes[log] = (size, now)
        self._sizes = sizes
        return [log for log, (size, _) in sizes.items() if size > self.limit]

    @property
    def pause(self) -> float:
        """Seconds until the next look: sooner if one could outgrow the limit by then."""
        return CATCH_UP if self._fastest * AT_LEISURE > self.limit / 10 else AT_LEISURE
