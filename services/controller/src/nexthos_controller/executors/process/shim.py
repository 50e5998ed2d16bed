"""The session of an execution. Its label is the handle without the definition, in which secrets may stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nexthos_controller.executors.base import Owner
from nexthos_controller.executors.machine.processes import Process
from nexthos_controller.executors.machine.shim import label_of, session_argv
from nexthos_controller.executors.process.handle import Handle, read_handle_json


def shim_argv(exit_file: Path, handle: Handle, engine: Sequence[str]) -> list[str]:
    """Argv of the session that is about to be spawned; `handle.spawning` is its life."""
    label = replace(handle, definition=None, life=None).to_json()
    return session_argv(exit_file, label, engine)


def shim_of(leader: Process, argv: Sequence[bytes], owner: Owner) -> Handle | None:
    """The handle that a shim's argv carries, `life` included, if it is the owner's."""
    label = label_of(argv)
    if label is None:
        return None
    try:
        handle = read_handle_json(label)
    except ValueError:
        return None
    if handle.owner != owner or handle.spawning is None:
        return None
    life = replace(handle.spawning, pid=leader.pid, ticks=leader.ticks)
    return replace(handle, life=life, spawning=None)
