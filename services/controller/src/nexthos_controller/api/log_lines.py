"""Lines on their way to one reader: as JSON, in messages of a bounded size, and bounded while they wait.

Comes in: lines of executions. Goes out: bodies of `LogsReply` messages. A reader that is slow costs a
bounded number of bytes: lines that it can't take are counted, and the count goes out with the next
lines. Knows nothing of pipelines and nothing of NATS.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator

from nexthos_controller.execution import Execution, LogLine
from nexthos_shared.model import LOGS_MESSAGE_BYTES, LogsLine
from nexthos_shared.model.stored import encode

MAX_TEXT = 8 * 1024  # characters of one piece
CHARACTER = 6  # bytes of one in JSON, at worst
WAITING_BYTES = 1024 * 1024  # of lines that wait for one reader
PATIENCE = 0.5  # seconds to wait for room before lines are dropped: the pace of a torrent, too
FRAME = 100  # bytes of a message around its lines
WORDS = 400  # bytes around the text of one piece
YIELD_EVERY = 64  # lines, so that a torrent does not have the loop for itself


def pieces(execution: Execution, line: LogLine, most: int = LOGS_MESSAGE_BYTES) -> Iterator[bytes]:
    """The line as JSON of `LogsLine`; in parts if it is very long. Each fits into `most` bytes."""
    length = max(min(MAX_TEXT, (most - FRAME - WORDS) // CHARACTER), 1)
    parts = [line.text[at : at + length] for at in range(0, len(line.text), length)] or [""]
    for number, text in enumerate(parts, 1):
        piece = LogsLine(
            execution=execution.name,
            replica=execution.replica,
            stream=line.stream,
            time=line.time,
            text=text,
            more=number < len(parts),
        )
        yield encode(piece)


def message(lines: Iterable[bytes], dropped: int, replicas: int) -> bytes:
    """The body of one `LogsReply`."""
    return b'{"lines":[%b],"dropped":%d,"replicas":%d}' % (b",".join(lines), dropped, replicas)


def messages(
    lines: Iterable[bytes], dropped: int, replicas: int, most: int = LOGS_MESSAGE_BYTES
) -> Iterator[bytes]:
    """As many bodies of at most `most` bytes as it takes, at least one."""
    left = deque(lines)
    yield message(_fitting(left, most), dropped, replicas)
    while left:
        yield message(_fitting(left, most), 0, replicas)


def _fitting(left: deque[bytes], most: int) -> list[bytes]:
    """Take as many from the left as one message of `most` bytes holds."""
    taken: list[bytes] = []
    size = FRAME
    while left and (not taken or size + len(left[0]) + 1 <= most):
        taken.append(left.popleft())
        size += len(taken[-1]) + 1
    return taken


class Waiting:
    """Lines that wait for one reader, from as many writers as there are executions."""

    def __init__(self, limit: int = WAITING_BYTES, most: int = LOGS_MESSAGE_BYTES) -> None:
        self._limit = limit
        self._most = most  # bytes of one message
        self._lines: deque[bytes] = deque()
        self._dropped = 0
        self._put = 0
        self._closed = False
        self._filled = asyncio.Event()
        self._taken = asyncio.Event()
        self.size = 0  # bytes

    async def put(self, line: bytes) -> None:
        """Add one; if there is no room for a moment, the oldest half is dropped for it."""
        if self.size + len(line) > self._limit and not await self._room(len(line)):
            while self._lines and self.size > self._limit // 2:
                self.size -= len(self._lines.popleft())
                self._dropped += 1
        self._lines.append(line)
        self.size += len(line)
        self._filled.set()
        self._put += 1
        if self._put % YIELD_EVERY == 0:
            await asyncio.sleep(0)

    async def _room(self, size: int) -> bool:
        try:
            async with asyncio.timeout(PATIENCE):
                while self.size + size > self._limit:
                    self._taken.clear()
                    await self._taken.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """No more lines come."""
        self._closed = True
        self._filled.set()

    async def take(self, within: float) -> tuple[list[bytes], int] | None:
        """Lines for one message, and how many were dropped before them; None at the end of it all.

        No lines if none come `within` seconds.
        """
        if not self._lines and not self._closed:
            self._filled.clear()
            try:
                async with asyncio.timeout(within):
                    await self._filled.wait()
            except TimeoutError:
                return [], 0
        if not self._lines:
            return None
        lines, dropped = _fitting(self._lines, self._most), self._dropped
        self.size -= sum(len(line) for line in lines)
        self._dropped = 0
        self._taken.set()
        return lines, dropped
