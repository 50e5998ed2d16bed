"""One execution as it is known here at this moment: its handle, and what only the living executor knows."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from nexthos_controller.execution import Execution, Exit
from nexthos_controller.executors.local.shim import EXIT
from nexthos_controller.executors.process.handle import HANDLE, LOG, Handle, metrics_of
from nexthos_shared.reasons import Problem

Stamp = tuple[int, int]


class Record:
    """Mutable; one for each folder. A `twin` is a second running one of a name: it has no folder."""

    def __init__(self, handle: Handle, folder: Path, *, twin: bool = False) -> None:
        self.handle = handle
        self.folder = folder
        self.log = folder / LOG  # stdout and stderr
        self.exit_file = folder / EXIT  # the shim's note of the end
        self.twin = twin
        self.stamp: Stamp | None = None  # of the handle's file, as last read or written
        self.ready: bool | None = None
        self.problem: Problem | None = None
        self.symptoms: tuple[Problem, ...] = ()  # what goes wrong while it runs
        self.probing: asyncio.Task[None] | None = None
        self.over = asyncio.Event()  # set when the life that `handle` names has ended

    @property
    def metrics_file(self) -> Path:
        """The last metrics of its last life."""
        return metrics_of(self.folder, self.handle.life)

    @property
    def uid(self) -> str:
        """Of its last life; empty while prepared."""
        return self.handle.life.uid if self.handle.life else ""

    @property
    def running(self) -> bool:
        """Whether anything of its last life runs."""
        return self.handle.life is not None and self.handle.life.exit is None

    def begin(self, handle: Handle) -> None:
        """Take up a life that has just begun, or was found."""
        self.handle = handle
        self.ready, self.problem, self.symptoms = None, None, ()
        self.over = asyncio.Event()
        if not self.running:
            self.over.set()

    def seen(self, place: str, outdated: str = "") -> Execution:
        """As the contract shows it."""
        handle, life = self.handle, self.handle.life
        exit: Exit | None = life.exit if life else None
        return Execution(
            name=handle.name,
            id=handle.id,
            replica=handle.replica,
            uid=self.uid,
            executor="process",
            place=place,
            spec_hash=handle.spec_hash,
            revision=handle.revision,
            digest=handle.digest,
            state="running" if self.running else "stopped" if life else "prepared",
            exit=exit,
            ready=self.ready if self.running else None,
            started_at=life.started_at if life else None,
            endpoint=life.endpoint if life and self.running else None,
            problem=self.problem if self.running else None,
            symptoms=self.symptoms if self.running else (),
            stop_timeout=handle.stop_timeout,
            outdated=outdated if self.running else "",
        )


def stamp_of(folder: Path) -> Stamp | None:
    """What changes whenever the handle is replaced; None if there is none."""
    try:
        stat = os.stat(f"{folder}/{HANDLE}")  # joining Paths would cost ten times the call
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns
