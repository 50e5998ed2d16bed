"""Hundreds of running streams: what they cost, how fast they come, and what survives which death.

A real controller and real hosts; each pipeline goes from NATS over a mapping to NATS. That one runs is
judged by a message that comes out, that one never stopped by the host's own word of its uptime and by every
message that was sent to it meanwhile. Memory is compared with engines by hand that run one such pipeline.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from benchmarks.boot import Boot, boot
from benchmarks.chorus import Chorus
from benchmarks.engines import Host, by_hand, command, hosts_of
from benchmarks.extent import Extent
from benchmarks.figures import Figure, Target
from benchmarks.ground import Ground, Progress, ended_after, ground
from benchmarks.processes import MIB, Memory, memory_of
from nexthos_controller.executors.shared.ports import free_port
from nexthos_testing.controller import ControllerProcess
from nexthos_testing.field import Field

NAMESPACE = "bmany"
UP_WITHIN = 120.0  # seconds until all have answered
AGAIN_WITHIN = 60.0  # seconds
LOOKS = 5  # at the memory of both
LOOK_EVERY = 0.2  # seconds
SAME_LIFE = 0.5  # seconds that two looks at the same beginning may differ


@dataclass(frozen=True, slots=True)
class Scale:
    """How many, in hosts of how many, against how many engines by hand, and how many restarts."""

    pipelines: int
    cap: int
    alone: int
    restarts: int
    calm: float  # seconds before memory is looked at


SCALES = {
    Extent.QUICK: [Scale(pipelines=20, cap=10, alone=2, restarts=1, calm=0.5)],
    Extent.USUAL: [Scale(pipelines=500, cap=250, alone=20, restarts=3, calm=6.0)],
    Extent.FULL: [
        Scale(pipelines=500, cap=250, alone=50, restarts=5, calm=30.0),
        Scale(pipelines=2000, cap=250, alone=50, restarts=5, calm=30.0),
    ],
}


async def measure(extent: Extent, progress: Progress) -> list[Figure]:
    """Each size on ground of its own."""
    return [figure for scale in SCALES[extent] for figure in await _one(scale, progress)]


async def _one(scale: Scale, progress: Progress) -> list[Figure]:
    def say(words: str) -> None:
        progress(f"streams: {words} ({scale.pipelines:,})")

    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(ground())
        controller = here.controller(NAMESPACE, "streams", cap=scale.cap)
        await stack.enter_async_context(ended_after(controller))
        await controller.start()
        field = here.field(NAMESPACE)
        keys = [f"p{n}" for n in range(scale.pipelines)]
        chorus = await stack.enter_async_context(Chorus(field, keys))
        say("storing")
        await chorus.store()
        say("starting")
        took = await started(chorus)
        figures = [
            Figure(
                f"{scale.pipelines:,} streams: started per second, to a message out",
                "/s",
                (scale.pipelines / took,),
                target=Target(100, "ours", at_least=True),
            )
        ]
        say("memory")
        figures += await _memory(here, controller, scale)
        say("controller restart")
        figures += await _restarts(here, controller, chorus, scale)
        say("a host is killed")
        figures += await _host_killed(controller, chorus, scale)
    return figures


async def started(chorus: Chorus) -> float:
    """Put all definitions; seconds until each of them has answered."""
    began = time.perf_counter()
    async with asyncio.TaskGroup() as both:
        both.create_task(chorus.put())
        answers = both.create_task(chorus.all_answer(chorus.keys, UP_WITHIN))
    return answers.result() - began


# ---- memory


async def _memory(here: Ground, controller: ControllerProcess, scale: Scale) -> list[Figure]:
    hosts = [host.pid for host in hosts_of(controller.state_dir)]
    assert controller.process is not None
    async with _alone(here, scale.alone) as alone:
        await asyncio.sleep(scale.calm)
        ours: list[Memory] = []
        other: list[Memory] = []
        for _ in range(LOOKS):
            ours.append(memory_of(hosts))
            other.append(memory_of(alone))
            await asyncio.sleep(LOOK_EVERY)
    own = memory_of([controller.process.pid])
    name, words = f"{scale.pipelines:,} streams", f"one of {scale.alone} engines by hand"

    def each(kind: str, whole: list[int], single: list[int], target: Target | None) -> Figure:
        return Figure(
            f"{name}: memory of each, {kind}",
            "MiB",
            tuple(n / scale.pipelines / MIB for n in whole),
            tuple(n / scale.alone / MIB for n in single),
            words,
            target,
        )

    return [
        each("PSS", [m.pss for m in ours], [m.pss for m in other], Target(1 / 60, "ratio")),
        each("RSS", [m.rss for m in ours], [m.rss for m in other], Target(1 / 60, "ratio")),
        Figure(f"{name}: hosts", "count", (float(len(hosts)),)),
        Figure(f"{name}: memory of the controller, PSS", "MiB", (own.pss / MIB,)),
    ]


@asynccontextmanager
async def _alone(here: Ground, count: int) -> AsyncIterator[list[int]]:
    """PIDs of engines by hand that run the same pipeline, on subjects of their own."""
    field = Field(here.nc, here.field("balone").names)
    async with AsyncExitStack() as stack:
        pids = []
        for number in range(count):
            file = here.folder / f"alone-{number}.yaml"
            http = f'http: {{address: "127.0.0.1:{free_port(())}"}}\n'
            file.write_text(http + field.echo_text(f"a{number}"))
            argv, log = await command(file), file.with_suffix(".log")
            pids.append(await stack.enter_async_context(by_hand(argv, here.url, log)))
        for number in range(count):
            await field.says(f"a{number}")
        yield pids


# ---- deaths


async def _births(hosts: list[Host]) -> dict[str, float]:
    """When each stream began, on the monotonic clock, in the word of its host."""
    births: dict[str, float] = {}
    for host in hosts:
        async with host:
            streams, now = await host.streams(), time.monotonic()
        births |= {name: now - s["uptime"] for name, s in streams.items() if s["active"]}
    return births


def _not_the_same(before: dict[str, float], after: dict[str, float]) -> int:
    never = float("inf")
    return sum(abs(after.get(name, never) - at) > SAME_LIFE for name, at in before.items())


async def _restarts(
    here: Ground, controller: ControllerProcess, chorus: Chorus, scale: Scale
) -> list[Figure]:
    boots: list[Boot] = []
    again: list[int] = []
    lost: list[str] = []
    async with chorus.none_stops(chorus.keys, lost):
        for _ in range(scale.restarts):
            before = await _births(hosts_of(controller.state_dir))
            await controller.kill()
            controller.log_path.unlink()
            boots.append(await boot(here, controller, scale.pipelines))
            after = await _births(hosts_of(controller.state_dir))
            again.append(_not_the_same(before, after))
    name, none = f"{scale.pipelines:,} streams, controller killed", Target(0, "ours")
    adopted = tuple(b.adopted - b.waited for b in boots)
    return [
        Figure(f"{name}: streams restarted", "count", tuple(map(float, again)), target=none),
        Figure(f"{name}: messages lost meanwhile", "count", (float(len(lost)),), target=none),
        Figure(f"{name}: start -> adopted, lease wait left out", "s", adopted),
        Figure("  CPU until adopted", "s", tuple(b.cpu for b in boots)),
    ]


async def _host_killed(controller: ControllerProcess, chorus: Chorus, scale: Scale) -> list[Figure]:
    victim, *others = hosts_of(controller.state_dir)
    mourned = {_key(name) for name in await _births([victim])}
    untouched = [key for key in chorus.keys if key not in mourned]
    before = await _births(others)
    lost: list[str] = []
    async with chorus.none_stops(untouched, lost):
        began = time.perf_counter()
        os.kill(victim.pid, signal.SIGKILL)
        again = await chorus.all_answer(mourned, AGAIN_WITHIN) - began
    after = await _births(hosts_of(controller.state_dir))
    name, none = f"{scale.pipelines:,} streams, host of {len(mourned)} killed", Target(0, "ours")
    return [
        Figure(f"{name}: all answer again", "s", (again,), target=Target(10.0, "ours")),
        Figure(
            f"{name}: others restarted",
            "count",
            (float(_not_the_same(before, after)),),
            target=none,
        ),
        Figure(f"{name}: messages of others lost", "count", (float(len(lost)),), target=none),
    ]


def _key(name: str) -> str:
    """`<ns>-<key>-<replica>-<hash>`."""
    return name.removeprefix(f"{NAMESPACE}-").rsplit("-", 2)[0]
