"""What a controller costs while nothing happens: CPU, and what NATS has to do for it.

A thousand streams run. In one and the same window their controller and one of an empty namespace are
watched, on the same server. A window lasts as long as the time between two resyncs, so it holds one.
The controller asks its hosts every two seconds which of their streams are connected: that is in the
figure, and can't be turned off.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from benchmarks.chorus import Chorus
from benchmarks.engines import hosts_of
from benchmarks.extent import Extent
from benchmarks.figures import Figure, Target
from benchmarks.ground import Ground, Progress, ended_after, ground
from benchmarks.monitoring import Traffic, traffic
from benchmarks.processes import cpu_of
from benchmarks.streams import started
from nexthos_testing.controller import ControllerProcess

FILLED, EMPTY = "bidle", "bnothing"
AN_HOUR = 3600.0  # seconds
KIB = 1024


@dataclass(frozen=True, slots=True)
class Scale:
    """How many pipelines, how many windows of how many seconds, and how many seconds before them."""

    pipelines: int
    windows: int
    seconds: float
    calm: float


SCALES = {
    Extent.QUICK: Scale(pipelines=20, windows=1, seconds=2.0, calm=1.0),
    Extent.USUAL: Scale(pipelines=1000, windows=1, seconds=60.0, calm=15.0),
    Extent.FULL: Scale(pipelines=1000, windows=3, seconds=60.0, calm=30.0),
}


@dataclass(frozen=True, slots=True)
class Window:
    """What one controller, and its hosts, did in a window."""

    seconds: float
    cpu: float
    hosts_cpu: float
    traffic: Traffic

    @property
    def hours(self) -> float:
        """As a part of an hour."""
        return self.seconds / AN_HOUR


async def measure(extent: Extent, progress: Progress) -> list[Figure]:
    """Run it on ground of its own."""
    scale = SCALES[extent]
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(ground())
        controllers = [here.controller(name, "streams") for name in (FILLED, EMPTY)]
        for controller in controllers:
            await stack.enter_async_context(ended_after(controller))
            await controller.start()
        keys = [f"p{n}" for n in range(scale.pipelines)]
        async with Chorus(here.field(FILLED), keys) as chorus:
            progress(f"idle: storing {scale.pipelines:,} pipelines")
            await chorus.store()
            progress(f"idle: starting {scale.pipelines:,} streams")
            await started(chorus)
        await asyncio.sleep(scale.calm)
        ours: list[Window] = []
        other: list[Window] = []
        for number in range(scale.windows):
            progress(f"idle: window {number + 1} of {scale.windows}, {scale.seconds:g} s")
            filled, empty = await _window(here, controllers, scale.seconds)
            ours.append(filled)
            other.append(empty)
    return [*_cpu(scale.pipelines, ours, other), *_nats(scale.pipelines, ours, other)]


async def _window(
    here: Ground, controllers: list[ControllerProcess], seconds: float
) -> list[Window]:
    before = [await _now(here, controller) for controller in controllers]
    await asyncio.sleep(seconds)
    after = [await _now(here, controller) for controller in controllers]
    return [
        Window(
            new.seconds - old.seconds,
            new.cpu - old.cpu,
            new.hosts_cpu - old.hosts_cpu,
            new.traffic.since(old.traffic),
        )
        for old, new in zip(before, after, strict=True)
    ]


async def _now(here: Ground, controller: ControllerProcess) -> Window:
    assert controller.process is not None
    return Window(
        seconds=time.perf_counter(),
        cpu=cpu_of(controller.process.pid),
        hosts_cpu=sum(cpu_of(host.pid) for host in hosts_of(controller.state_dir)),
        traffic=await traffic(here.monitor, controller.namespace),
    )


def _cpu(pipelines: int, ours: list[Window], other: list[Window]) -> list[Figure]:
    name = f"{pipelines:,} streams idle"
    return [
        Figure(
            f"{name}: CPU of the controller, of a core",
            "%",
            tuple(100 * w.cpu / w.seconds for w in ours),
            tuple(100 * w.cpu / w.seconds for w in other),
            "a controller of 0 pipelines",
            Target(3.0, "ours"),
        ),
        Figure(
            f"{name}: CPU of their hosts, of a core",
            "%",
            tuple(100 * w.hosts_cpu / w.seconds for w in ours),
        ),
    ]


def _nats(pipelines: int, ours: list[Window], other: list[Window]) -> list[Figure]:
    """By the hour, as this window would go on."""
    name = f"NATS, {pipelines:,} pipelines idle"

    def hourly(what: str, name_of: str, each: float) -> Figure:
        def of(windows: list[Window]) -> tuple[float, ...]:
            return tuple(getattr(w.traffic, name_of) / w.hours / each for w in windows)

        return Figure(
            f"{name}: {what}", "count", of(ours), of(other), "a controller of 0 pipelines"
        )

    def more(name_of: str, each: float) -> tuple[float, ...]:
        """Than a controller of none, for each pipeline and hour."""
        pairs = zip(ours, other, strict=True)
        return tuple(
            (getattr(a.traffic, name_of) - getattr(b.traffic, name_of)) / a.hours / each / pipelines
            for a, b in pairs
        )

    return [
        Figure(
            f"{name}: consumers",
            "count",
            tuple(float(w.traffic.consumers) for w in ours),
            tuple(float(w.traffic.consumers) for w in other),
            "a controller of 0 pipelines",
        ),
        hourly("messages an hour", "messages", 1),
        hourly("KiB an hour", "bytes", KIB),
        hourly("messages stored an hour", "stored", 1),
        Figure("  for each pipeline and hour: messages", "count", more("messages", 1)),
        Figure("  for each pipeline and hour: KiB", "count", more("bytes", KIB)),
    ]
