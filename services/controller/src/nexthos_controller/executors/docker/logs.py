"""A container's log as lines: those that are there, and those that come."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import replace

from nexthos_controller.execution import LogLine
from nexthos_controller.executors.docker.daemon import Daemon
from nexthos_controller.executors.docker.stock import timed
from nexthos_controller.executors.shared.lines import read_line, seconds_of


async def read_tail(daemon: Daemon, container: str, tail: int, pipeline_id: str) -> list[LogLine]:
    """The last `tail` lines, oldest first. Raises Gone."""
    log = await daemon.tail(container, tail) if tail > 0 else b""
    return [_line(time, text, pipeline_id) for time, text in timed(log)][-tail:]


async def read_follow(
    daemon: Daemon, container: str, tail: int, pipeline_id: str
) -> AsyncGenerator[LogLine, None]:
    """The last `tail` lines and then all that come, until it ends. Raises Gone."""
    rest = b""
    async with contextlib.aclosing(daemon.follow(container, tail)) as pieces:
        async for piece in pieces:
            *_, unfinished = (rest + piece).rpartition(b"\n")
            whole = (rest + piece)[: len(rest) + len(piece) - len(unfinished)]
            rest = unfinished
            for time, text in timed(whole):
                yield _line(time, text, pipeline_id)
    for time, text in timed(rest):
        yield _line(time, text, pipeline_id)


def _line(time: str, text: str, pipeline_id: str) -> LogLine:
    """The engine says when; of the rest the daemon says when it came."""
    line = read_line(text.encode(), pipeline_id)
    return line if line.time is not None else replace(line, time=seconds_of(time[:26] + "Z"))
