"""How a life ended, judged from what it left behind: right also if nobody looked at the time.

Comes in: a folder and a life that is over. Goes out: an `Exit`.

    exit file says 0         ended by itself; asked to, if the group or the engine was signalled
    exit file says 1..255    as the shell says it: above 128 a signal
    no exit file             the whole group was killed, or the machine went down
"""

from __future__ import annotations

import json
import re
import signal
from dataclasses import dataclass
from pathlib import Path

from nexthos_controller.executors.base import Exit
from nexthos_controller.executors.process.handle import EXIT, LOG, Handle, Life
from nexthos_shared.engine import last_error
from nexthos_shared.reasons import Problem, Reason

LOG_TAIL = 64 * 1024  # bytes of the log that are searched for a cause
KILLED = 128 + signal.SIGKILL
_RECORD = re.compile(r"(\d{1,3}) (.*) (\d+)\n", re.DOTALL)
# `kill PID` of the engine alone never reaches the shim. The engine says it in its log.
_ASKED = ("Received SIGTERM", "Received SIGINT")


@dataclass(frozen=True, slots=True)
class Noted:
    """What the shim wrote."""

    code: int
    signalled: bool
    pid: int


def noted(folder: Path) -> Noted | None:
    """The shim's record, if it is complete: it is one write, and none if the disk was full."""
    try:
        text = (folder / EXIT).read_text(errors="replace")
    except OSError:
        return None
    match = _RECORD.fullmatch(text)
    if match is None:
        return None
    return Noted(int(match[1]), match[2] == "signalled", int(match[3]))


def judge(folder: Path, handle: Handle, life: Life) -> Exit:
    """How `life` ended. Reads files, never raises for them."""
    note = noted(folder)
    code = note.code if note else None
    tail = _tail(folder / LOG, life.log_offset)
    asked = life.stopping or (note is not None and note.signalled) or (code == 0 and _told(tail))
    if asked or code == 0:
        return Exit(code, asked)
    return Exit(code, False, _cause(code, tail, handle))


def _cause(code: int | None, tail: str, handle: Handle) -> Problem:
    # Without its variables, a message could show a value of one.
    found = None if handle.env is None else last_error(tail, handle.env)
    if code is None or code == KILLED:
        words = "the engine was killed (SIGKILL: by hand, or by the system for want of memory)"
        last = f"; its last error was: {found.message}" if found else ""
        return Problem(Reason.KILLED, words + last)
    if found is not None:
        return found
    if code > 128:
        return Problem(Reason.EXITED, f"the engine was ended by signal {code - 128}")
    return Problem(Reason.EXITED, f"the engine ended with exit code {code}")


def _told(tail: str) -> bool:
    """Whether the engine noted in this life that a signal asked it to end."""
    for line in tail.splitlines():
        if line.startswith("{") and any(words in line for words in _ASKED):
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if str(entry.get("msg", "")).startswith(_ASKED) and "level" in entry:
                return True
    return False


def _tail(log: Path, offset: int) -> str:
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            # A log shorter than where this life began was cut meanwhile: all of it is this life's.
            begin = offset if offset <= size else 0
            file.seek(max(begin, size - LOG_TAIL))
            return file.read(LOG_TAIL).decode("utf-8", "replace")
    except OSError:
        return ""
