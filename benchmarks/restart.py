"""A controller is killed: until the next one has taken over what runs, against one that finds nothing.

Many small pipelines run. Their controller gets `kill -9`, another one is started on the same state.
What it takes is read from outside: HTTP, what it asks NATS for, its log. In turn with it, a controller
of an empty namespace is killed and started the same way, beside the same processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

from benchmarks.boot import Boot, boot, count
from benchmarks.extent import Extent
from benchmarks.figures import Figure, Target
from benchmarks.ground import Ground, Progress, ended_after, ground
from nexthos_testing.controller import ControllerProcess, engine_processes
from nexthos_testing.wait import eventually

FILLED, EMPTY = "bfull", "bempty"
UP_WITHIN = 300.0  # seconds until all run for the first time
AT_REST_WITHIN = 60.0  # seconds until nothing is left to do: what a restart meets, nearly always

CONFIG = """\
input: {generate: {mapping: root = "tick", interval: 1h}}
output: {drop: {}}
"""


@dataclass(frozen=True, slots=True)
class Scale:
    """How many processes, and how often."""

    processes: int
    rounds: int


SCALES = {
    Extent.QUICK: Scale(processes=20, rounds=3),
    Extent.USUAL: Scale(processes=200, rounds=5),
    Extent.FULL: Scale(processes=200, rounds=9),
}


async def measure(extent: Extent, progress: Progress) -> list[Figure]:
    """Run it on ground of its own."""
    scale = SCALES[extent]
    async with (
        ground() as here,
        ended_after(here.controller(EMPTY)) as empty,
        ended_after(here.controller(FILLED)) as filled,
    ):
        await empty.start()
        await filled.start()
        await _fill(here, filled, scale.processes, progress)
        ours: list[Boot] = []
        other: list[Boot] = []
        restarted: list[int] = []
        for number in range(scale.rounds):
            progress(f"restart: round {number + 1} of {scale.rounds}")
            for controller in (filled, empty) if number % 2 else (empty, filled):
                wanted = scale.processes if controller is filled else 0
                before = engine_processes(controller.state_dir).keys()
                await controller.kill()
                controller.log_path.unlink()  # so that what it says is of this start
                seen = await boot(here, controller, wanted)
                after = engine_processes(controller.state_dir).keys()
                (ours if wanted else other).append(seen)
                if wanted:
                    restarted.append(len(before ^ after))
    return _figures(scale.processes, ours, other, restarted)


async def _fill(here: Ground, controller: ControllerProcess, wanted: int, say: Progress) -> None:
    field = here.field(controller.namespace)
    for number in range(wanted):
        await field.config(f"p{number}", CONFIG)
        await field.put(f"p{number}")
    url = f"http://{controller.environ['NEXTHOS_HTTP']}"
    async with aiohttp.ClientSession(url) as http, asyncio.timeout(UP_WITHIN):
        while (running := (await count(http)).running) < wanted:
            say(f"restart: {running} of {wanted} pipelines run")
            await asyncio.sleep(1.0)
    assert len(engine_processes(controller.state_dir)) == wanted
    say("restart: until nothing is left to do")

    async def is_good() -> bool:
        statuses = [await field.status(f"p{number}") for number in range(wanted)]
        return all(status is not None and status.memory.last_good for status in statuses)

    await eventually(is_good, within=AT_REST_WITHIN, every=0.5)


# ---- figures


def _figures(
    processes: int, ours: Sequence[Boot], other: Sequence[Boot], restarted: Sequence[int]
) -> list[Figure]:
    name = f"restart, {processes} running"
    second = Target(1.0, "ours")
    return [
        Figure(
            f"{name}: processes restarted",
            "count",
            tuple(float(n) for n in restarted),
            target=Target(0, "ours"),
        ),
        _figure(
            f"{name}: start -> adopted, lease wait left out",
            [b.adopted - b.waited for b in ours],
            [b.adopted - b.waited for b in other],
            second,
        ),
        _figure(
            f"{name}: leading -> adopted",
            [b.adopted - b.acts for b in ours],
            [b.adopted - b.acts for b in other],
            second,
        ),
        _figure("  start -> Python is up", [b.alive for b in ours], [b.alive for b in other]),
        Figure("  Python is up -> connected", "s", tuple(b.connected - b.alive for b in ours)),
        _figure("  CPU until adopted", [b.cpu for b in ours], [b.cpu for b in other]),
        Figure("  waiting for the lease of the killed one", "s", tuple(b.waited for b in ours)),
    ]


def _figure(
    what: str, ours: Sequence[float], other: Sequence[float], target: Target | None = None
) -> Figure:
    return Figure(what, "s", tuple(ours), tuple(other), "a controller of 0 pipelines", target)
