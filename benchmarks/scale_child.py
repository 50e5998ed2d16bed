"""`python -m benchmarks.scale_child`: a controller over a fake executor, which tells what it costs.

Reads commands from its standard input, a line each, and answers each with a line of JSON:

    boot                take part until everything has converged; `pause` is the longest of the loop
    calm SECONDS        wait, and then until nothing is left to do
    resync TIMES EVERY  read all snapshots and look at everything once more; `spans` and `cpus` of each
    end                 leave, as a controller that is stopped; the fake world stays
    again               boot once more, after `end`

Each start of an execution is told on NATS with the moment, by the system's monotonic clock. With
`--profile VERB` what the verb does is sampled, and `--report FILE` gets what came of that: such a process
measures nothing else.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import click

from nexthos_controller.app import Running, running_controller
from nexthos_controller.executors.base import Execution, ExecutorContext, Listing, Spec
from nexthos_controller.executors.fake import FakeExecutor, FakeWorld
from nexthos_controller.feeds import Feeds
from nexthos_controller.logs import configure_logs
from nexthos_controller.settings import Settings
from nexthos_controller.term import Term
from nexthos_shared.nats_client import ConnectOptions

CALLED = "bench.called"
PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = 0.02  # seconds
NEVER = 3600.0  # seconds: a resync comes only when it is asked for


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
        self.world.starts += 1
        self.world.names.setdefault(spec.id, set()).add(started.name)
        return started


class World(FakeWorld):
    """Knows the names of a pipeline's executions, and how often one was started."""

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, set[str]] = {}
        self.starts = 0


class Child:
    """One process, one world, one controller after the other."""

    def __init__(self, options: ConnectOptions, settings: Settings) -> None:
        self.options = options
        self.settings = settings
        self.world = World()
        self.stack = AsyncExitStack()
        self.running: Running | None = None
        self.first: Term | None = None

    def make(self, context: ExecutorContext) -> TellingExecutor:
        return TellingExecutor(context, self.world)

    def term(self) -> Term:
        """The one that began with the boot. Raises RuntimeError if the lease was lost since."""
        assert self.running is not None
        if self.running.term is None or self.running.term is not self.first:
            raise RuntimeError("the lease was lost: nothing of this can be measured")
        return self.running.term

    async def boot(self) -> dict[str, float]:
        """As main does it: what is made until it leads stays, and is not searched for garbage."""
        gc.disable()
        async with _pauses() as pauses:
            entered = running_controller(self.settings, self.options, {"fake": self.make})
            self.running = await self.stack.enter_async_context(entered)
            term = self.first = await self.running.leading()
            executor = term.controller.executors["fake"].inner  # type: ignore[attr-defined]
            executor.tell = self.running.site.link.nc.publish
            gc.freeze()
            gc.enable()
            await self.settle()
        return {"pause": max(pauses)}

    async def again(self) -> dict[str, float]:
        """A boot under another name, to be sampled alone."""
        return await self.boot()

    async def settle(self) -> None:
        """Until no pipeline waits to be looked at."""
        while len(self.term().controller.queue):  # noqa: ASYNC110  (a benchmark adds no hook)
            await asyncio.sleep(0.002)

    async def calm(self, seconds: str) -> None:
        await asyncio.sleep(float(seconds))
        await self.settle()

    async def resync(self, times: str, every: str) -> dict[str, Any]:
        """With feeds of its own beside the term's: they read the same snapshots, and fill the same queue."""
        term, spans, cpus = self.term(), [], []
        assert self.running is not None
        site = self.running.site
        for _ in range(int(times)):
            began, cpu = time.monotonic(), time.process_time()
            async with Feeds(term.controller, site.store, site.link, NEVER) as feeds:
                await feeds.caught_up.wait()
                await self.settle()
                ended = time.monotonic()
                await asyncio.sleep(max(0.0, began + float(every) - ended))  # statuses come last
                await self.settle()
            spans.append((began, ended))
            cpus.append(time.process_time() - cpu)
        return {"spans": spans, "cpus": cpus}

    async def end(self) -> None:
        await self.stack.aclose()
        self.stack = AsyncExitStack()
        self.running = None

    async def serve(self, profiled: str, report: Path) -> None:
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            verb, *arguments = line.split()
            wall, cpu = time.monotonic(), time.process_time()
            with _sampled(report) if verb == profiled else _measured():
                more = await getattr(self, verb)(*arguments)
            said = {
                "wall": time.monotonic() - wall,
                "cpu": time.process_time() - cpu,
                "rss": _rss(),
                "running": len(self.world.running()),
                "starts": self.world.starts,
            }
            print(json.dumps({**said, **(more or {})}), flush=True)
        await self.end()


@asynccontextmanager
async def _pauses() -> AsyncIterator[list[float]]:
    """Seconds by which the loop was late: it renews the lease, too."""
    pauses = [0.0]

    async def tick() -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(TICK)
            pauses.append(time.monotonic() - began - TICK)

    ticking = asyncio.create_task(tick())
    try:
        yield pauses
    finally:
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)


@contextmanager
def _measured() -> Iterator[None]:
    yield


@contextmanager
def _sampled(report: Path) -> Iterator[None]:
    from pyinstrument import Profiler  # here: whoever is measured does not load it

    # Waiting is no work: what other tasks do meanwhile is what is looked for.
    profiler = Profiler(interval=0.001, async_mode="disabled")
    profiler.start()
    try:
        yield
    finally:
        profiler.stop()
        report.write_text(profiler.output_html())
        report.with_suffix(".txt").write_text(profiler.output_text(show_all=False))


def _rss() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


@click.command()
@click.argument("url")
@click.argument("namespace")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--debounce", type=float, required=True)
@click.option("--profile", default="")
@click.option("--report", type=click.Path(path_type=Path), default=Path("profile.html"))
def main(
    url: str, namespace: str, folder: Path, debounce: float, profile: str, report: Path
) -> None:
    """Serve until standard input ends."""
    settings = Settings(
        namespace=namespace,
        executor="fake",
        http="127.0.0.1:0",
        state_dir=folder,
        resync=NEVER,
        ready_debounce=debounce,
        log_level="warning",
    )
    configure_logs("json", "warning")
    asyncio.run(Child(ConnectOptions(url), settings).serve(profile, report))


if __name__ == "__main__":
    main()
