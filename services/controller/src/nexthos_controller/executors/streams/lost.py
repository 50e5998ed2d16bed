"""Hosts of ours that run and of which no folder tells any more: found by their command line, and ended.

Comes in: /proc, the hosts that are known. Goes out: ends. Who has neither its port nor its password can ask
such a host nothing, so any pipeline may be in it, and it would run beside what is started instead. So as
long as one runs, nothing is known of pipelines that are not known to be elsewhere, and nothing is started.
It is asked to end, which drains its streams, and killed if it does not. The folder may have been deleted,
in part or whole, or stand where other settings said that it should.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from nexthos_controller.execution import Owner, Stranger
from nexthos_controller.executors.local.deaths import Deaths
from nexthos_controller.executors.local.ending import end
from nexthos_controller.executors.local.processes import (
    Session,
    argv_of,
    boot_id,
    is_ours,
    leads,
    processes,
)
from nexthos_controller.executors.local.shim import EXIT, label_of
from nexthos_controller.executors.streams.host import SHUTDOWN_TIMEOUT
from nexthos_shared.process.engine_user import EngineUsers
from nexthos_shared.untrusted_json import read_object

log = structlog.get_logger(__name__)

Known = Callable[[], Iterable[tuple[int, int]]]  # PID and start of those that a folder tells of


def label(owner: Owner, number: int) -> bytes:
    """What the command line of a host says: whose it is, and which."""
    said = {"namespace": owner.namespace, "installation": owner.installation, "host": number}
    return json.dumps(said).encode()


class Lost:
    """Those of one owner."""

    def __init__(self, owner: Owner, known: Known, users: EngineUsers | None) -> None:
        self._owner = owner
        self._users = users
        self._known = known
        self._deaths = Deaths(self._ended)
        self._running: dict[Session, asyncio.Event] = {}

    async def look(self) -> None:
        """One pass over /proc."""
        found = await asyncio.to_thread(_sessions_of, self._owner, self._users)
        known = set(self._known())
        for session in found - self._running.keys():
            if (session.pid, session.ticks) in known or not leads(session):
                continue
            log.warning("a host runs that no folder tells of: it is ended", pid=session.pid)
            self._running[session] = asyncio.Event()
            self._deaths.watch(session)

    @property
    def told(self) -> str:
        """Which there are, in words; empty if there are none."""
        return ", ".join(f"a host (PID {session.pid})" for session in self._running)

    async def end_all(self, guard: Callable[[], None]) -> None:
        """End them, all at once. Raises StillRunning, and what the guard raises."""
        if self._running:
            guard()
            ends = (
                end(session, over, self._deaths, SHUTDOWN_TIMEOUT, guard)
                for session, over in self._running.items()
            )
            await asyncio.gather(*ends)

    async def _ended(self, sessions: list[Session]) -> None:
        for session in sessions:
            if (over := self._running.pop(session, None)) is not None:
                over.set()

    async def close(self) -> None:
        """Let go of pidfds."""
        await self._deaths.close()


def _sessions_of(owner: Owner, users: EngineUsers | None) -> set[Session]:
    found = set()
    for one in processes():
        if one.dead or one.pid != one.session:
            continue
        said = label_of(argv_of(one.pid))
        ours = said is not None and _is_host_of(owner, said)
        # Everybody may give a program of his own the same command line.
        if ours and is_ours(one.pid, users):
            found.add(Session(one.pid, one.ticks, boot_id()))
    return found


def _is_host_of(owner: Owner, said: bytes) -> bool:
    return _owner_in(said) == owner


def _owner_in(said: bytes) -> Owner | None:
    entry = read_object(said)
    if entry is None or "host" not in entry:
        return None
    namespace, installation = entry.get("namespace"), entry.get("installation")
    if not isinstance(namespace, str) or not isinstance(installation, str):
        return None
    return Owner(namespace, installation)


def strangers(owner: Owner, users: EngineUsers | None) -> frozenset[Stranger]:
    """Hosts of that namespace and another installation; which streams they have, they alone know."""
    found = set()
    for one in processes():
        if one.dead or one.pid != one.session or (said := label_of(argv_of(one.pid))) is None:
            continue
        other = _owner_in(said)
        if other is None or other.namespace != owner.namespace or other == owner:
            continue
        if is_ours(one.pid, users):
            found.add(Stranger(other.installation, f"a host of streams (PID {one.pid})"))
    return frozenset(found)


def session_in(folder: Path, users: EngineUsers | None) -> tuple[int, int] | None:
    """PID and start of the session that runs in that folder."""
    for one in processes():
        if one.dead or one.pid != one.session:
            continue
        argv = argv_of(one.pid)
        theirs = label_of(argv) is not None and os.fsdecode(argv[3]) == str(folder / EXIT)
        if theirs and is_ours(one.pid, users):
            return one.pid, one.ticks
    return None
