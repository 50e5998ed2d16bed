"""`python -m benchmarks.scale_child`: a controller over a fake executor, which tells what it costs.

Reads commands from its standard input, a line each, and answers with a line of JSON: `boot` (take part
until everything has converged), `resync` (look at everything once more), `idle SECONDS`, `end` (leave, as
a controller that is stopped; the fake world stays), `quit`. Each start of an execution is told on NATS
with the moment, by the system's monotonic clock.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from nexthos_controller.app import Running, running_controller
from nexthos_controller.executors.base import Execution, ExecutorContext, Listing, Spec
from nexthos_controller.executors.fake import FakeExecutor, FakeWorld
from nexthos_controller.logs import configure_logs
from nexthos_controller.settings import Settings
from nexthos_shared.nats_client import ConnectOptions

CALLED = "bench.called"
PAGE = os.sysconf("SC_PAGE_SIZE")


class TellingExecutor(FakeExecutor):
    """Tells each start on NATS, without waiting for it; finds one of many as fast as one of few."""

    tell: Any = None
    world: World

    async def find(self, pipeline_id: str) -> Listing:
        names = self.world.names.get(pipeline_id, ())
        found = (self.world.things[name].execution for name in names if name in self.world.things)
        return Listing(tuple(found), frozenset(self.world.places))

    async def start(self, spec: Spec, replica: int) -> Execution:
        if self.tell is not None:
            await self.tell(f"{CALLED}.{spec.id}", repr(time.monotonic()).encode())
        started = await super().start(spec, replica)
        self.world.names.setdefault(spec.id, set()).add(started.name)
        return started


class World(FakeWorld):
    """Knows the names of a pipeline's executions."""

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, set[str]] = {}


class Child:
    """One process, one world, one controller after the other."""

    def __init__(self, url: str, namespace: str, folder: Path) -> None:
        self.options = ConnectOptions(url)
        self.settings = Settings(
            namespace=namespace,
            executor="fake",
            http="127.0.0.1:0",
            state_dir=folder,
            resync=3600.0,
            log_level="warning",
        )
        self.world = World()
        self.stack = AsyncExitStack()
        self.running: Running | None = None

    def make(self, context: ExecutorContext) -> TellingExecutor:
        executor = TellingExecutor(context, self.world)
        if self.running is not None:
            executor.tell = self.running.site.link.nc.publish
        return executor

    async def boot(self) -> None:
        """As main does it: what is made at boot stays, and is not searched for garbage."""
        gc.disable()
        entered = running_controller(self.settings, self.options, {"fake": self.make})
        self.running = await self.stack.enter_async_context(entered)
        term = await self.running.leading()
        executor = term.controller.executors["fake"].inner  # type: ignore[attr-defined]
        executor.tell = self.running.site.link.nc.publish
        await self.settle()
        gc.freeze()
        gc.enable()

    async def settle(self) -> None:
        """Until no pipeline waits to be looked at."""
        assert self.running is not None
        term = await self.running.leading()
        while len(term.controller.queue):  # noqa: ASYNC110  (a benchmark adds no hook)
            await asyncio.sleep(0.002)

    async def resync(self) -> None:
        """What the watch does each minute: a snapshot, and a look at everything."""
        assert self.running is not None
        term = await self.running.leading()
        for key in term.controller.desired.keys():  # noqa: SIM118
            term.controller.queue.add(key, live=False)
        await self.settle()

    async def end(self) -> None:
        await self.stack.aclose()
        self.stack = AsyncExitStack()
        self.running = None

    async def idle(self, seconds: str) -> None:
        await asyncio.sleep(float(seconds))

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            line = await loop.run_in_executor(None, sys.stdin.readline)
            verb, *arguments = line.split() or ["quit"]
            if verb == "quit":
                break
            wall, cpu = time.monotonic(), time.process_time()
            await getattr(self, verb)(*arguments)
            said = {
                "wall": time.monotonic() - wall,
                "cpu": time.process_time() - cpu,
                "rss": _rss(),
                "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "running": len(self.world.running()),
            }
            print(json.dumps(said), flush=True)
        await self.end()


def _rss() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


if __name__ == "__main__":
    url, namespace, folder = sys.argv[1:]
    configure_logs("json", "warning")
    asyncio.run(Child(url, namespace, Path(folder)).serve())
