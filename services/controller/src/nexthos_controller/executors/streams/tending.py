"""What hosts need while nothing is asked of them: empty ones are ended, and logs are kept small."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from nexthos_controller.executors.machine import logfile
from nexthos_controller.executors.streams.hosts import Hosts
from nexthos_shared.errors import NexthosError

log = structlog.get_logger(__name__)

TEND_EVERY = 1.0  # seconds between looks at hosts that may be empty


async def tend(hosts: Hosts, guard: Callable[[], None]) -> None:
    """For ever."""
    growth, last = logfile.Growth(), 0.0
    while True:
        await asyncio.sleep(min(growth.pause, TEND_EVERY))
        await _cut_logs(hosts, growth)
        if time.monotonic() - last < TEND_EVERY:
            continue
        last = time.monotonic()
        try:
            await hosts.end_the_empty(guard)
        except NexthosError as error:
            log.info("an empty host is not ended now", error=str(error))


async def _cut_logs(hosts: Hosts, growth: logfile.Growth) -> None:
    logs = {host.log: str(host.handle.number) for host in hosts.all()}
    for file in growth.too_large(logs):
        try:
            await asyncio.to_thread(logfile.cut, file, growth.limit, logs[file])
        except OSError as error:
            log.warning("a log can't be cut", file=str(file), error=error.strerror)
