"""Processes as /proc shows them: who is who although PIDs are reused, and who belongs to a session.

A session is named by its leader: PID and start time in clock ticks since boot. The kernel gives a PID
to nobody else while a session of that number has members, so a member is ours unless the leader's
number belongs to a process that started at another time.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from nexthos_shared.process.engine_user import EngineUsers

PROC = Path("/proc")
_BOOT_ID = PROC / "sys/kernel/random/boot_id"
PART = 64 * 1024  # bytes read at once


@dataclass(frozen=True, slots=True)
class Session:
    """Everything that a shim started and that did not leave for a session of its own."""

    pid: int  # of the leader, and so the session's id
    ticks: int  # when the leader started; 0: not known
    boot: str
    mark: bytes = b""  # NAME=value that all members were born with, see `members`


@dataclass(frozen=True, slots=True)
class Process:
    """A line of /proc/PID/stat."""

    pid: int
    session: int
    state: str
    ticks: int

    @property
    def dead(self) -> bool:
        """A zombie has ended; it only waits for its parent to ask how."""
        return self.state in "ZXx"


@lru_cache(maxsize=1)
def boot_id() -> str:
    """The first 8 digits of this boot's id."""
    return _BOOT_ID.read_text().strip()[:8]


def process(pid: int) -> Process | None:
    """What runs under that PID now."""
    try:
        line = _read(pid, "stat")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name stands in parentheses and may hold anything, more of them included.
    fields = line[line.rindex(b")") + 2 :].split()
    return Process(pid, int(fields[3]), fields[0].decode(), int(fields[19]))


def _read(pid: int, what: str) -> bytes:
    """A file of /proc/PID; with Paths and buffers it takes twice as long. Raises OSError."""
    file = os.open(f"/proc/{pid}/{what}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(file, PART):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(file)


def processes() -> Iterator[Process]:
    """Everything that runs; 15 µs each, so not in the loop."""
    for entry in os.listdir(PROC):
        if entry.isdigit():
            found = process(int(entry))
            if found is not None:
                yield found


def argv_of(pid: int) -> list[bytes]:
    """The command line; empty if it ended or may not be seen."""
    with suppress(OSError):
        return _read(pid, "cmdline").split(b"\0")
    return []


def is_ours(pid: int, users: EngineUsers | None, more: Collection[int] = ()) -> bool:
    """Whether we run it, or one of `users`, or of `more`."""
    with suppress(OSError):
        uid = int(_read(pid, "status").partition(b"\nUid:")[2].split(None, 1)[0])
        return uid == os.geteuid() or uid in more or (users is not None and uid in users)
    return False


def leads(session: Session) -> bool:
    """Whether the leader of exactly that session lives."""
    if session.boot != boot_id():
        return False
    leader = process(session.pid)
    return leader is not None and leader.ticks == session.ticks and not leader.dead


def reap(pid: int) -> None:
    """Let go of a dead child of ours; of nobody else's."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def members(
    sessions: Collection[Session], seen: Collection[Session] = ()
) -> dict[Session, list[int]]:
    """PIDs that live in each session; one pass over /proc for all of them.

    Where the leader is gone, a stranger may have led a session of the same number since, unless we
    saw the leader alive until now (`seen`): then only processes that carry the session's mark count.
    """
    for session in sessions:
        reap(session.pid)
    wanted = {s.pid: s for s in sessions if s.boot == boot_id()}
    found: dict[Session, list[int]] = {s: [] for s in sessions}
    led: set[Session] = set()
    for one in processes():
        if one.session not in wanted:
            continue
        session = wanted[one.session]
        if one.pid == session.pid and one.ticks != session.ticks:
            wanted.pop(session.pid)  # the number is another's now
            found[session] = []
        elif one.dead:
            reap(one.pid)
        elif one.ticks >= session.ticks:
            found[session].append(one.pid)
            if one.pid == session.pid:
                led.add(session)
    for session, pids in found.items():
        if pids and session not in led and session not in seen:
            found[session] = [pid for pid in pids if _carries(pid, session.mark)]
    return found


def _carries(pid: int, mark: bytes) -> bool:
    with suppress(OSError):
        return bool(mark) and mark in _read(pid, "environ").split(b"\0")
    return False


def signal_group(session: Session, *, kill: bool) -> None:
    """SIGTERM or SIGKILL to the leader's process group, in one step."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(session.pid, signal.SIGKILL if kill else signal.SIGTERM)


def signal_one(pid: int, session: Session, *, kill: bool) -> None:
    """The same to a member that left the leader's group: those in the group have had it."""
    with suppress(ProcessLookupError, PermissionError):
        if os.getsid(pid) == session.pid and os.getpgid(pid) != session.pid:
            os.kill(pid, signal.SIGKILL if kill else signal.SIGTERM)
