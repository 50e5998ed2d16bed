"""How a life ended, judged from what it left behind: right also if nobody looked at the time.

Comes in: a folder and a life that is over. Goes out: an `Exit`.

    exit file says 0         ended by itself; asked to, if the group or the engine was signalled
    exit file says 1..255    as the shell says it: above 128 a signal
    no exit file             the whole group was killed, or the machine went down
"""

from __future__ import annotations

from pathlib import Path

from nexthos_controller.execution import Exit
from nexthos_controller.executors.local.shim import KILLED, noted, tail_of, told
from nexthos_controller.executors.process.handle import LOG, Handle, Life
from nexthos_shared.engine import last_error
from nexthos_shared.reasons import Problem, Reason


def judge(folder: Path, handle: Handle, life: Life) -> Exit:
    """How `life` ended. Reads files, never raises for them."""
    note = noted(folder)
    code = note.code if note else None
    tail = tail_of(folder / LOG, life.log_offset)
    asked = life.stopping or (note is not None and note.signalled) or (code == 0 and told(tail))
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
