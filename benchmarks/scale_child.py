"""`python -m benchmarks.scale_child`: a controller over a fake executor, which tells what it costs.

Reads commands from its standard input, a line each, and answers each with a line of JSON:

    boot                take part until everything has converged; `pause` is the longest of the loop
    calm SECONDS        wait, and then until nothing is left to do
    end                 leave, as a controller that is stopped, and keep the fake world for the next one
    resync TIMES        wait for so many resyncs; `spans` of each, and the CPU of `each`

Each start of an execution is told on NATS with the moment, by the system's monotonic clock. With
`--profile VERB` what the verb does is sampled, and `--report FILE` gets what came of that: such a process
measures nothing else.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import click

from benchmarks.lean_executor import LeanExecutor, LeanWorld
from nexthos_controller.executors.contract import LocalContext
from nexthos_controller.lifecycle import gc as garbage
from nexthos_controller.lifecycle.app import Running, running_controller
from nexthos_controller.lifecycle.term import Term
from nexthos_controller.runtime.logs import configure_logs
from nexthos_controller.settings import Settings
from nexthos_shared.nats.connection import ConnectOptions

CALLED = "bench.called"
PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = 0.02  # seconds
LOOK = 0.05  # seconds between looks at the metrics
NEVER = 3600.0  # seconds: no resync comes meanwhile


class Child:
    """One process, one world, one controller after the other."""

    def __init__(self, options: ConnectOptions, settings: Settings, kept: Path) -> None:
        self.options = options
        self.settings = settings
        self.kept = kept
        self.world = LeanWorld.load(kept)
        self.executor: LeanExecutor | None = None
        self.stack = AsyncExitStack()
        self.running: Running | None = None
        self.first: Term | None = None

    def make(self, context: LocalContext) -> LeanExecutor:
        self.executor = LeanExecutor(context, self.world)
        return self.executor

    async def tell(self, pipeline_id: str) -> None:
        assert self.running is not None
        moment = repr(time.monotonic()).encode()
        await self.running.site.link.nc.publish(f"{CALLED}.{pipeline_id}", moment)

    def term(self) -> Term:
        """The one that began with the boot. Raises RuntimeError if the lease was lost since."""
        assert self.running is not None
        if self.running.term is None or self.running.term is not self.first:
            raise RuntimeError("the lease was lost: nothing of this can be measured")
        return self.running.term

    async def boot(self) -> dict[str, float]:
        """As main does it: what is made until it leads stays, and is not searched for garbage."""
        garbage.put_off()
        async with _pauses() as pauses:
            entered = running_controller(self.settings, self.options, {"fake": self.make})
            self.running = await self.stack.enter_async_context(entered)
            self.first = await self.running.leading()
            assert self.executor is not None
            self.executor.told = self.tell
            garbage.take_up()
            await self.settle()
        return {"pause": max(pauses)}

    async def settle(self) -> None:
        """Until no pipeline waits to be looked at."""
        while len(self.term().controller.queue):  # noqa: ASYNC110  (a benchmark adds no hook)
            await asyncio.sleep(0.002)

    async def calm(self, seconds: str) -> None:
        await asyncio.sleep(float(seconds))
        await self.settle()

    async def resync(self, times: str) -> dict[str, Any]:
        """As they come by themselves, and as the controller's own metrics tell of them."""
        assert self.running is not None
        spans: list[tuple[float, float]] = []
        cpu, (count, total) = time.process_time(), self._resyncs()
        while len(spans) < int(times):
            await asyncio.sleep(LOOK)
            (count, before), (seen, total) = (count, total), self._resyncs()
            if seen > count:
                now, count = time.monotonic(), seen
                spans.append((now - (total - before), now))
            self.term()
        return {"spans": spans, "each": (time.process_time() - cpu) / max(len(spans), 1)}

    def _resyncs(self) -> tuple[float, float]:
        """How many there were, and the seconds that they took."""
        assert self.running is not None
        read, name = self.running.site.registry.get_sample_value, "nexthos_resync_duration_seconds"
        return read(f"{name}_count") or 0.0, read(f"{name}_sum") or 0.0

    async def end(self) -> None:
        self.world.save(self.kept)
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
                "running": len(self.world),
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
@click.option("--resync", type=float, default=NEVER)
@click.option("--profile", default="")
@click.option("--report", type=click.Path(path_type=Path), default=Path("profile.html"))
def main(
    url: str,
    namespace: str,
    folder: Path,
    debounce: float,
    resync: float,
    profile: str,
    report: Path,
) -> None:
    """Serve until standard input ends."""
    settings = Settings(
        namespace=namespace,
        executor="fake",
        http="127.0.0.1:0",
        state_dir=folder,
        resync=resync,
        ready_debounce=debounce,
        log_level="warning",
    )
    configure_logs("json", "warning")
    kept = folder.with_name("world.json")
    asyncio.run(Child(ConnectOptions(url), settings, kept).serve(profile, report))


if __name__ == "__main__":
    main()
