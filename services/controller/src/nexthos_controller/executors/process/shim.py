"""The session of an execution. Its label is the handle without what is secret: everybody may read argv.

The definition is left out, and the password of the engine's HTTP replaced by its hash: whoever finds the
session reads the password in its folder, and knows by the hash whether it is this life's.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nexthos_controller.execution import Owner
from nexthos_controller.executors.local.belongings import read_theirs
from nexthos_controller.executors.local.processes import Process
from nexthos_controller.executors.local.shim import label_of, session_argv
from nexthos_controller.executors.process.handle import PASSWORD, Handle, read_handle_json
from nexthos_shared import names

MAX_PASSWORD = 256  # bytes


def shim_argv(exit_file: Path, handle: Handle, engine: Sequence[str]) -> list[str]:
    """Argv of the session that is about to be spawned; `handle.spawning` is its life."""
    spawning = handle.spawning
    assert spawning is not None
    public = replace(spawning, token=names.digest_of(spawning.token.encode()))
    label = replace(handle, definition=None, life=None, spawning=public).to_json()
    return session_argv(exit_file, label, engine)


def shim_of(leader: Process, argv: Sequence[bytes], owner: Owner) -> Handle | None:
    """The handle that a shim's argv carries, `life` included, if it is the owner's."""
    handle = told_by(argv)
    if handle is None or handle.owner != owner or handle.spawning is None:
        return None
    folder = folder_of(argv)
    token = _password(folder, handle.spawning.token)
    life = replace(handle.spawning, pid=leader.pid, ticks=leader.ticks, token=token)
    return replace(handle, life=life, spawning=None)


def told_by(argv: Sequence[bytes]) -> Handle | None:
    """The handle that a shim's argv carries, whoever owns it; None if it is no shim's."""
    label = label_of(argv)
    if label is None:
        return None
    try:
        handle = read_handle_json(label)
    except ValueError:
        return None
    return handle if handle.name == folder_of(argv).name else None


def folder_of(argv: Sequence[bytes]) -> Path:
    """Where a shim notes its end."""
    return Path(os.fsdecode(argv[3])).parent


def _password(folder: Path, hashed: str) -> str:
    """The life's password; empty if it is not there: the life is not asked for its readiness then."""
    kept = read_theirs(folder / PASSWORD, MAX_PASSWORD)
    return kept if names.digest_of(kept.encode()) == hashed else ""
