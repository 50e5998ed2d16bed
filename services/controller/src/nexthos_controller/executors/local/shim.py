"""A session: a /bin/sh that outlives what it runs by the moment it takes to note the end.

The shim traps TERM, INT and HUP, so that it survives what is sent to the group and can tell whether
the group was asked to end. It uses builtins only (the environment may have no PATH), and no variable,
since its child would inherit it; those that a shell exports by itself it takes back. It dies with the
group's SIGKILL and then notes nothing: that too says how it ended. Its argv carries a label in which
nothing secret may stand: so what runs can be found, and told whose it is, when no file can tell any more.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nexthos_controller.executors.local.belongings import read_theirs
from nexthos_controller.executors.local.processes import process
from nexthos_shared.process.engine_user import EngineUser
from nexthos_shared.untrusted_json import read_object

SHELL = "/bin/sh"
SCRIPT = """\
shift
unset PWD OLDPWD SHLVL
trap 'set -- signalled' TERM INT HUP
"$@"
echo "$? $1 $$" > "$0"
"""
EXIT = "exit"
MAX_NOTE = 256  # bytes
KILLED = 128 + signal.SIGKILL
TAIL = 64 * 1024  # bytes of a log that are searched for a cause
_LABEL = b"nexthos="
_RECORD = re.compile(r"(\d{1,3}) (.*) (\d+)\n", re.DOTALL)
# `kill PID` of the engine alone never reaches the shim. The engine says it in its log.
_ASKED = ("Received SIGTERM", "Received SIGINT")


def session_argv(exit_file: Path, label: bytes, argv: Sequence[str]) -> list[str]:
    """Argv of a session that runs `argv` and notes its end in `exit_file`."""
    return [SHELL, "-c", SCRIPT, str(exit_file), (_LABEL + label).decode(), *argv]


def label_of(argv: Sequence[bytes]) -> bytes | None:
    """The label that a session's argv carries; None if it is no session of a shim.

    It says whose it is, wherever its folder stands or stood: a controller with other settings, or after
    its folders were deleted, must still find what an earlier one started.
    """
    if len(argv) < 6 or not argv[4].startswith(_LABEL):
        return None
    return argv[4].removeprefix(_LABEL)


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    log: Path,
    errors: Path | None = None,
    user: EngineUser | None = None,
) -> tuple[int, int]:
    """Start a session of its own, as `user` if there is one; its leader's PID and start. Raises OSError.

    `log` is what it prints; `errors` what it prints as errors, if that is not to be with the rest.
    subprocess.Popen takes 0.2 ms; asyncio's needs 0.9 ms and a thread for each child.
    """
    out = err = _appended(log)
    try:
        err = out if errors is None else _appended(errors)
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            close_fds=True,  # the controller itself may have been given some
            start_new_session=True,
            umask=0o077,
            cwd=cwd,
            env=dict(env),
            **(user.to_become() if user is not None else {}),
        )
    finally:
        for opened in {out, err}:
            os.close(opened)
    # Popen would complain at its end, and reap behind our back, of a child that is meant to outlive it.
    child.returncode = 0
    try:
        found = process(child.pid)
    except OSError:  # nobody could tell it from others later: it must not run
        os.killpg(child.pid, signal.SIGKILL)
        os.waitpid(child.pid, 0)
        raise
    return child.pid, found.ticks if found else 0


def _appended(file: Path) -> int:
    return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


# ---- what it left behind


@dataclass(frozen=True, slots=True)
class Noted:
    """What the shim wrote."""

    code: int
    signalled: bool
    pid: int


def noted(folder: Path) -> Noted | None:
    """The shim's record, if it is complete: it is one write, and none if the disk was full."""
    match = _RECORD.fullmatch(read_theirs(folder / EXIT, MAX_NOTE))
    if match is None:
        return None
    return Noted(int(match[1]), match[2] == "signalled", int(match[3]))


def told(tail: str) -> bool:
    """Whether the engine noted there that a signal asked it to end."""
    for line in tail.splitlines():
        if line.startswith("{") and any(words in line for words in _ASKED):
            entry = read_object(line.encode(errors="replace")) or {}
            if str(entry.get("msg", "")).startswith(_ASKED) and "level" in entry:
                return True
    return False


def tail_of(log: Path, offset: int) -> str:
    """The end of what was logged since `offset`, the log's size when that life began."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            # A log shorter than where this life began was cut meanwhile: all of it is this life's.
            begin = offset if offset <= size else 0
            file.seek(max(begin, size - TAIL))
            return file.read(TAIL).decode("utf-8", "replace")
    except OSError:
        return ""
