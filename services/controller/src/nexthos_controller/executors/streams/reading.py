"""What can be read of an execution: its lines and its metrics, of this life and of those that have ended.

Comes in: a record, and the host in which it runs, if it does. Goes out: lines and text.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

from nexthos_controller.execution import LogLine
from nexthos_controller.executors.local import logfile
from nexthos_controller.executors.streams import lines
from nexthos_controller.executors.streams.api import NotOurs, Silent
from nexthos_controller.executors.streams.hosts import Host
from nexthos_controller.executors.streams.record import Record


async def lines_of(
    record: Record, host: Host | None, tail: int, follow: bool
) -> AsyncIterator[LogLine]:
    """The last lines of lives that have ended, and what the host logged of the one that runs."""
    name, uid = record.handle.name, record.uid
    kept, out = await asyncio.to_thread(_kept, record, tail)
    if host is None or record.handle.life is None:
        for line in lines.together(kept, out, tail):
            yield line
        return
    life, alone = record.handle.life, not host.handle.shared
    raw, logged_to = await asyncio.to_thread(lines.written_since, host.log, life.log_offset)
    said: list[bytes] = []
    printed_to = 0
    if alone:
        said, printed_to = await asyncio.to_thread(
            lines.written_since, host.output, life.output_offset
        )
    kept += [found for one in raw if (found := lines.read(one, name)) is not None]
    out += [lines.printed(one) for one in said]
    for recent in lines.together(kept, out, tail):
        yield recent
    if follow:
        sources: list[lines.Source] = [(host.log, logged_to, partial(lines.read, name=name))]
        if alone:
            sources.append((host.output, printed_to, partial(_while_alone, host)))
        async for fresh in lines.follow(sources, lambda: record.running and record.uid == uid):
            yield fresh


def _kept(record: Record, tail: int) -> tuple[list[LogLine], list[LogLine]]:
    name = record.handle.name
    logged = logfile.last_lines(record.log, tail)[0]
    said = logfile.last_lines(record.output, tail)[0]
    found = [line for one in logged if (line := lines.read(one, name)) is not None]
    return found, [lines.printed(one) for one in said]


def _while_alone(host: Host, raw: bytes) -> LogLine | None:
    return None if host.handle.shared else lines.printed(raw)


async def metrics_of(record: Record, host: Host | None) -> str:
    """Its metrics as its host says them; those that were kept, if it has ended."""
    if record.running:
        try:
            if host is None:
                return ""
            return record.since_it_began(await host.metrics.of(record.handle.name))
        except (Silent, NotOurs):
            return ""
    try:
        return record.metrics_file.read_text(errors="replace")
    except OSError:
        return ""
