"""What a soak may not use up: descriptors, tasks, memory, consumers, processes, folders.

Looked at in the controller that lives through the whole soak, while it leads and nothing happens.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.soak.ground import TASKS, Ground

from nexthos_testing.controller import ControllerProcess, engine_processes
from nexthos_testing.wait import eventually

SETTLES_WITHIN = 90.0  # seconds: a resync and an unused consumer's last 15 s included
MORE_FILES = 4  # connections to engines that are just being asked
MORE_MEMORY = 1.15  # times, and
SPARE_MEMORY = 16 * 2**20  # bytes: what the allocator keeps of the largest moment


@dataclass(frozen=True, slots=True)
class Upkeep:
    """One look."""

    files: int
    threads: int
    tasks: dict[str, int]  # by what they run
    memory: int  # bytes, resident
    consumers: dict[str, int]  # by stream
    engines: int
    folders: int

    def beyond(self, before: Upkeep) -> Iterator[str]:
        """What is more than before, in words."""
        if self.files > before.files + MORE_FILES:
            yield f"{self.files} open files, {before.files} before"
        if sum(self.tasks.values()) > sum(before.tasks.values()):
            more = {k: n for k, n in self.tasks.items() if n > before.tasks.get(k, 0)}
            yield f"{sum(self.tasks.values())} tasks, {sum(before.tasks.values())} before: {more}"
        if self.memory > before.memory * MORE_MEMORY + SPARE_MEMORY:
            yield f"{self.memory >> 20} MiB, {before.memory >> 20} MiB before"
        if self.consumers != before.consumers:
            yield f"consumers {self.consumers}, {before.consumers} before"
        if (self.engines, self.folders) != (before.engines, before.folders):
            yield (
                f"{self.engines} engines in {self.folders} folders, "
                f"{before.engines} in {before.folders} before"
            )


async def look(ground: Ground) -> Upkeep:
    """Measure once."""
    assert ground.first.process is not None
    pid = ground.first.process.pid
    streams = await ground.user.base.js.streams_info()
    return Upkeep(
        files=len(os.listdir(f"/proc/{pid}/fd")),
        threads=_of(pid, "Threads"),
        tasks=await _tasks(ground, pid),
        memory=memory_of(ground.first),
        consumers={str(s.config.name): s.state.consumer_count for s in streams},
        engines=sum(
            "/config.yaml" in argv for argv in engine_processes(ground.first.state_dir).values()
        ),
        folders=sum(1 for _ in ground.executions.iterdir()),
    )


async def back_to(before: Upkeep, ground: Ground) -> tuple[Upkeep, list[str]]:
    """Look again and again until nothing is more than before; what still is, after a while."""
    deadline = asyncio.get_running_loop().time() + SETTLES_WITHIN
    while True:
        now = await look(ground)
        more = list(now.beyond(before))
        if not more or asyncio.get_running_loop().time() > deadline:
            return now, more
        await asyncio.sleep(1.0)


def memory_of(controller: ControllerProcess) -> int:
    """Bytes that are resident."""
    assert controller.process is not None
    return _of(controller.process.pid, "VmRSS") * 1024


def _of(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise ValueError(name)


async def _tasks(ground: Ground, pid: int) -> dict[str, int]:
    file = ground.folder / TASKS / str(pid)
    file.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    await eventually(file.exists, within=10.0)
    found: dict[str, int] = json.loads(file.read_text())
    return found
