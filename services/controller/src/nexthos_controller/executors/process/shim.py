"""The session of an execution: a /bin/sh that outlives the engine by the moment it takes to note the end.

The shim traps TERM, INT and HUP, so that it survives what is sent to the group and can tell whether
the group was asked to end. It uses builtins only (the environment may have no PATH), and no variable,
since the engine would inherit it; those that a shell exports by itself it takes back. It dies with the
group's SIGKILL and then notes nothing: that too says how it ended. Its argv carries the handle without
the definition, in which secrets may stand: so what runs can be found, and told whose it is, when the
folder can't tell any more.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nexthos_controller.executors.base import Owner
from nexthos_controller.executors.process.handle import Handle, read_handle_json
from nexthos_controller.executors.process.processes import Process

SHELL = "/bin/sh"
SCRIPT = """\
shift
unset PWD OLDPWD SHLVL
trap 'set -- signalled' TERM INT HUP
"$@"
echo "$? $1 $$" > "$0"
"""
_LABEL = b"nexthos="


def shim_argv(exit_file: Path, handle: Handle, engine: Sequence[str]) -> list[str]:
    """Argv of the session that is about to be spawned; `handle.spawning` is its life."""
    label = _LABEL + replace(handle, definition=None, life=None).to_json()
    return [SHELL, "-c", SCRIPT, str(exit_file), label.decode(), *engine]


def spawn(argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> int:
    """Start a session of its own and return its leader's PID. Raises OSError.

    subprocess.Popen takes 0.2 ms; asyncio's needs 0.9 ms and a thread for each child.
    """
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            close_fds=True,  # the controller itself may have been given some
            start_new_session=True,
            umask=0o077,
            cwd=cwd,
            env=dict(env),
        )
    finally:
        os.close(out)
    # Popen would complain at its end, and reap behind our back, of a child that is meant to outlive it.
    child.returncode = 0
    return child.pid


def shim_of(leader: Process, argv: Sequence[bytes], root: Path, owner: Owner) -> Handle | None:
    """The handle that a shim's argv carries, `life` included, if it is the owner's and below `root`."""
    if len(argv) < 6 or not argv[4].startswith(_LABEL):
        return None
    if Path(os.fsdecode(argv[3])).parent.parent != root:
        return None
    try:
        handle = read_handle_json(argv[4].removeprefix(_LABEL))
    except ValueError:
        return None
    if handle.owner != owner or handle.spawning is None:
        return None
    life = replace(handle.spawning, pid=leader.pid, ticks=leader.ticks)
    return replace(handle, life=life, spawning=None)
