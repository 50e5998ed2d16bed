"""What a dev that was killed left running: engines first, while their NATS is there, then its server.

Comes in: dev's state folder, whose lock we hold: nobody else acts on it. Goes out: nothing runs that
belongs to it. Ended rather than adopted: the next server may get another port, and the engines would
never find it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
from collections.abc import Callable
from pathlib import Path

from nexthos_cli.dev.ending import End, stop_all
from nexthos_controller.embedded import (
    LocalContext,
    Owner,
    ProcessExecutor,
    Spec,
    argv_of,
    load_handle,
    processes,
)
from nexthos_shared.errors import ConfigMissing

SERVER_WITHIN = 3.0  # seconds, then it is killed
KILL_WITHIN = 5.0  # seconds for SIGKILL to work


async def end_leftovers(data: Path, controller: Path, end: End, say: Callable[[str], None]) -> None:
    """End engines below `controller` (a controller's state folder) and servers with data in `data`."""
    for owner in await asyncio.to_thread(_owners, controller / "executions"):
        await _end_engines(controller, owner, end, say)
    for pid in await asyncio.to_thread(servers_of, data):
        say(f"ending the nats-server of an earlier run that was killed (process {pid})")
        await _end_process(pid, data)


def _owners(root: Path) -> set[Owner]:
    """Whose executions there are: a new store is another installation."""
    owners = set()
    for folder in root.iterdir() if root.is_dir() else ():
        with contextlib.suppress(OSError):
            handle, _ = load_handle(folder)
            if handle is not None:
                owners.add(handle.owner)
    return owners


async def _end_engines(
    controller: Path, owner: Owner, end: End, say: Callable[[str], None]
) -> None:
    context = LocalContext(
        owner=owner, fetch=_no_bytes, engines={}, connections={}, state_dir=controller
    )
    async with ProcessExecutor(context) as executor:
        live = [e for e in (await executor.list()).executions if e.state == "running"]
        if live:
            say(f"ending {len(live)} engines of an earlier run that was killed")
        await stop_all(executor, live, end, say)


async def _no_bytes(spec: Spec) -> bytes:
    raise ConfigMissing(f"{spec.id}: nothing is started here")


def servers_of(data: Path) -> list[int]:
    """PIDs of nats-servers that were started with their data in exactly that folder."""
    return [one.pid for one in processes() if not one.dead and _serves(one.pid, data)]


def _serves(pid: int, data: Path) -> bool:
    argv = argv_of(pid)
    named = b"-sd" in argv and os.fsencode(data) in argv
    return named and os.path.basename(argv[0]) == b"nats-server"


async def _end_process(pid: int, data: Path) -> None:
    """SIGTERM, then SIGKILL, to that very process: a pidfd never means another one."""
    with contextlib.suppress(ProcessLookupError):
        fd = os.pidfd_open(pid)
        try:
            if not _serves(pid, data):
                return
            for number, within in (
                (signal.SIGTERM, SERVER_WITHIN),
                (signal.SIGKILL, KILL_WITHIN),
            ):
                signal.pidfd_send_signal(fd, number)
                if await asyncio.to_thread(_ends, fd, within):
                    return
        finally:
            os.close(fd)


def _ends(fd: int, within: float) -> bool:
    return bool(select.select([fd], [], [], within)[0])
