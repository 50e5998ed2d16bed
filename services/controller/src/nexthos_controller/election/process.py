"""Whether the process that holds a lease can still act: only of one on this very system that is known.

A controller that was killed and started again need not wait for its own lease to expire.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

_PROC = Path("/proc")
_PID = re.compile(r"[0-9]{1,10}")


@cache
def this_process() -> str:
    """`<boot id> <pid namespace> <pid> <start ticks>`; empty where the system can't tell."""
    pid = os.getpid()
    system, ticks = _system(), _start(pid)
    return f"{system} {pid} {ticks}" if system and ticks else ""


def is_dead(process: str) -> bool:
    """Whether `process`, as it called itself, ran on this system and has ended. False if in doubt."""
    system, _, which = process.rpartition(" ")
    system, _, pid = system.rpartition(" ")
    if not _PID.fullmatch(pid) or system != _system():
        return False
    return _start(int(pid)) != which


def _system() -> str:
    """This boot and this namespace of PIDs: two containers of one machine know different processes."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink(_PROC / 'self/ns/pid')}"
    except OSError:
        return ""


def _start(pid: int) -> str:
    """Ticks at which a process started; empty if it is gone, or is only waiting to be reaped."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return ""
    except OSError:
        return "?"
    return "" if fields[0] in "ZX" else fields[19]
