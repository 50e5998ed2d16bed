"""What can be read of an execution: its lines and its metrics, of this life and of those that have ended.

Comes in: a record, and the host in which it runs, if it does. Goes out: lines and text.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from nexthos_controller.executors.base import LogLine
from nexthos_controller.executors.streams import lines
from nexthos_controller.executors.streams.api import NotOurs, Silent
from nexthos_controller.executors.streams.hosts import Host
from nexthos_controller.executors.streams.record import Record


async def lines_of(
    record: Record, host: Host | None, tail: int, follow: bool
) -> AsyncIterator[LogLine]:
    """The last lines of lives that have ended, and what the host logged of the one that runs."""
    name, uid, life = record.handle.name, record.uid, record.handle.life
    found = await asyncio.to_thread(lines.kept, record.log, name, tail)
    if host is None or life is None:
        for kept in found:
            yield kept
        return
    sieve = lines.Sieve(name, not host.handle.shared)
    raw, position = await asyncio.to_thread(lines.written_since, host.log, life.log_offset)
    found += [line for one in raw if (line := sieve.read(one)) is not None]
    for recent in found[-tail:] if tail else []:
        yield recent
    if follow:
        followed = lines.follow(
            host.log, position, sieve, lambda: record.running and record.uid == uid
        )
        async for fresh in followed:
            yield fresh


async def metrics_of(record: Record, host: Host | None) -> str:
    """Its metrics as its host says them; those that were kept, if it has ended."""
    if record.running:
        try:
            return await host.metrics.of(record.handle.name) if host is not None else ""
        except (Silent, NotOurs):
            return ""
    try:
        return record.metrics_file.read_text(errors="replace")
    except OSError:
        return ""
