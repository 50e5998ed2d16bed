"""What hosts need while nothing is asked of them: empty ones are ended, and logs are kept small.

Comes in: hosts, and whoever keeps the lines of a log that is cut. A flood of one stream's lines must not
cost another one's: so before a log's lines go, each stream keeps its own last ones.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

import structlog

from nexthos_controller.executors.local import logfile
from nexthos_controller.executors.streams.hosts import Host, Hosts
from nexthos_shared.errors import NexthosError

log = structlog.get_logger(__name__)

TEND_EVERY = 1.0  # seconds between looks at hosts that may be empty
Keep = Callable[[Host, Iterable[bytes]], None]


async def tend(hosts: Hosts, guard: Callable[[], None], keep: Keep) -> None:
    """For ever."""
    growth, last = logfile.Growth(), 0.0
    while True:
        await asyncio.sleep(min(growth.pause, TEND_EVERY))
        await cut_logs(hosts, growth, keep)
        if time.monotonic() - last < TEND_EVERY:
            continue
        last = time.monotonic()
        try:
            await hosts.lost.end_all(guard)
            await hosts.end_the_empty(guard)
        except NexthosError as error:
            log.info("a host is not ended now", error=str(error))


async def cut_logs(hosts: Hosts, growth: logfile.Growth, keep: Keep) -> None:
    """Cut those that are beyond the limit."""
    logs = {file: host for host in hosts.all() for file in (host.log, host.output, host.errors)}
    for file in growth.too_large(logs):
        host = logs[file]
        try:
            if file == host.log:
                await asyncio.to_thread(_cut_shared, host, keep)
            else:
                await asyncio.to_thread(logfile.cut, file, growth.limit, str(host.handle.number))
        except OSError as error:
            log.warning("a log can't be cut", file=str(file), error=error.strerror)


def _cut_shared(host: Host, keep: Keep) -> None:
    """All of it goes to those whose it is; between that and the cut are microseconds."""
    with host.log.open("rb") as log_of_all:
        keep(host, (line.rstrip(b"\n") for line in log_of_all))
    logfile.cut(host.log, 0, str(host.handle.number))
