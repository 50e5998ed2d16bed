"""One execution as it is known here at this moment: its handle, and what only the living executor knows."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from nexthos_controller.execution import Execution, Exit
from nexthos_controller.executors.shared.delivery import Delivery
from nexthos_controller.executors.shared.log_symptoms import Heard
from nexthos_controller.executors.streams.handle import BASE, HANDLE, LOG, METRICS, OUTPUT, Handle
from nexthos_controller.executors.streams.metrics import since
from nexthos_shared.reasons import Problem

Stamp = tuple[int, int]


class Record:
    """Mutable; one for each folder."""

    def __init__(self, handle: Handle, folder: Path) -> None:
        self.handle = handle
        self.folder = folder
        self.log = folder / LOG  # lines that the host's log does not have, or not for long
        self.output = folder / OUTPUT
        self.metrics_file = folder / METRICS
        self.base_file = folder / BASE
        self.stamp: Stamp | None = None
        self.ready: bool | None = None
        self.problem: Problem | None = None
        self.symptoms: tuple[Problem, ...] = ()  # what goes wrong while it runs
        self.heard = Heard(handle.env)
        self.delivery = Delivery(from_nothing=False)
        self.said = ""  # by its host, of what is not connected
        self.busy = 0  # calls that are about to change what runs: who watches keeps away
        self.over = asyncio.Event()

    @property
    def uid(self) -> str:
        """Of its last life; empty while prepared."""
        return self.handle.life.uid if self.handle.life else ""

    @property
    def running(self) -> bool:
        """Whether its last life has not ended, as far as is known."""
        return self.handle.running

    def since_it_began(self, text: str) -> str:
        """Of its host's metrics of that name what its last life has counted."""
        try:
            return since(text, self.base_file.read_text(errors="replace"))
        except OSError:
            return text

    def begin(self, handle: Handle) -> None:
        """Take up a life that has just begun, or was found."""
        self.handle = handle
        self.ready, self.problem, self.symptoms = None, None, ()
        self.heard, self.said = Heard(handle.env), ""
        self.delivery = Delivery(from_nothing=False)  # its host may have counted for one before it
        self.over.set()
        self.over = asyncio.Event()
        if not self.running:
            self.over.set()

    def seen(self, place: str, endpoint: str | None, outdated: str = "") -> Execution:
        """As the contract shows it."""
        handle, life = self.handle, self.handle.life
        exit: Exit | None = life.exit if life else None
        return Execution(
            name=handle.name,
            id=handle.id,
            replica=handle.replica,
            uid=self.uid,
            executor="streams",
            place=place,
            spec_hash=handle.spec_hash,
            revision=handle.revision,
            digest=handle.digest,
            state="running" if self.running else "stopped" if life else "prepared",
            exit=exit,
            ready=self.ready if self.running else None,
            started_at=life.started_at if life else None,
            endpoint=endpoint if self.running else None,
            problem=self.problem if self.running else None,
            symptoms=self.symptoms if self.running else (),
            stop_timeout=handle.stop_timeout,
            outdated=outdated if self.running else "",
        )


def stamp_of(folder: Path) -> Stamp | None:
    """What changes whenever the handle is replaced; None if there is none."""
    try:
        stat = os.stat(f"{folder}/{HANDLE}")
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns
