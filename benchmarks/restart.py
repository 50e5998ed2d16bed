"""A controller is killed: until the next one has taken over what runs, against one that finds nothing.

Many small pipelines run. Their controller gets `kill -9`, another one is started on the same state.
What it takes is read from outside: HTTP, what it asks NATS for, its log. In turn with it, a controller
of an empty namespace is killed and started the same way, beside the same processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import aiohttp
from nats.aio.msg import Msg

from benchmarks.figures import Figure, Target
from benchmarks.ground import Ground, Progress, ended_after, ground
from nexthos_testing.controller import ControllerProcess, engine_processes

FILLED, EMPTY = "bfull", "bempty"
KNOCK_EVERY = 0.001  # seconds between knocks at the port that is not open yet
LOOK_EVERY = 0.005  # seconds between looks at /readyz
COUNT_EVERY = 0.02  # seconds between looks at /metrics, which cost the controller some milliseconds
WITHIN = 60.0  # seconds for one start
UP_WITHIN = 300.0  # seconds until all run for the first time
LEASE_LINE = "lease acquired"  # of the controller's log, where there is a lease

CONFIG = """\
input: {generate: {mapping: root = "tick", interval: 1h}}
output: {drop: {}}
"""


@dataclass(frozen=True, slots=True)
class Scale:
    """How many processes, and how often."""

    processes: int
    rounds: int


FULL, QUICK = Scale(processes=200, rounds=9), Scale(processes=20, rounds=3)


@dataclass(frozen=True, slots=True)
class Lease:
    """What the controller's log says of its lease."""

    acquired: float  # seconds since the process was spawned
    waited: float  # seconds for which there was nothing to do but wait for it


@dataclass(frozen=True, slots=True)
class Boot:
    """Seconds since the process was spawned."""

    alive: float  # its HTTP port is open: Python has started and imported everything
    connected: float  # it has asked NATS for something
    lease: Lease | None  # where there is one
    ready: float  # /readyz: it has caught up with the store
    adopted: float  # every pipeline was looked at, and is Running
    shown: float  # every one is reported ready again
    cpu: float  # seconds of CPU until it had adopted; engines that it asked what they are included

    @property
    def acts(self) -> float:
        """From when on it may act."""
        return self.connected if self.lease is None else self.lease.acquired

    @property
    def waited(self) -> float:
        """For the lease of the one that was killed."""
        return 0.0 if self.lease is None else self.lease.waited


async def measure(quick: bool, progress: Progress) -> list[Figure]:
    """Run it on ground of its own."""
    scale = QUICK if quick else FULL
    async with (
        ground() as here,
        ended_after(here.controller(EMPTY)) as empty,
        ended_after(here.controller(FILLED)) as filled,
    ):
        await empty.start()
        await filled.start()
        await _fill(here, filled, scale.processes, progress)
        leases = _lease(filled, 0.0) is not None
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
                boot = await _boot(here, controller, wanted, leases)
                after = engine_processes(controller.state_dir).keys()
                (ours if wanted else other).append(boot)
                if wanted:
                    restarted.append(len(before ^ after))
    return _figures(scale.processes, ours, other, restarted)


async def _fill(here: Ground, controller: ControllerProcess, count: int, say: Progress) -> None:
    field = here.field(controller.namespace)
    for number in range(count):
        await field.config(f"p{number}", CONFIG)
        await field.put(f"p{number}")
    url = f"http://{controller.environ['NEXTHOS_HTTP']}"
    async with aiohttp.ClientSession(url) as http, asyncio.timeout(UP_WITHIN):
        while (running := (await _count(http)).running) < count:
            say(f"restart: {running} of {count} pipelines run")
            await asyncio.sleep(1.0)
    assert len(engine_processes(controller.state_dir)) == count


# ---- one start


@dataclass
class Heard:
    """The first sign of a controller on NATS: the other one, of another namespace, goes on asking."""

    namespace: str
    first: float | None = None

    async def request(self, msg: Msg) -> None:
        """Anything that it asks for."""
        if self.first is None and f"_{self.namespace}-" in msg.subject:  # KV_<ns>-..., OBJ_<ns>-...
            self.first = time.perf_counter()


async def _boot(here: Ground, controller: ControllerProcess, wanted: int, leases: bool) -> Boot:
    """Start it, and see how far it is until all `wanted` are adopted.

    Before it leads it knows from the store that all are Running, and has looked at none.
    """
    heard = Heard(controller.namespace)
    # Not $SRV.>: whoever listens there keeps a ping that nobody answers waiting until its timeout.
    listening = await here.nc.subscribe("$JS.API.>", cb=heard.request)
    await here.nc.flush()
    url = f"http://{controller.environ['NEXTHOS_HTTP']}"
    started, began = time.time(), time.perf_counter()
    async with asyncio.timeout(WITHIN), aiohttp.ClientSession(url) as http:
        await controller.spawn()
        alive = await _until_open(controller)
        ready = await _until_ready(http, controller)
        adopted = shown = cpu = 0.0
        while not shown:
            seen, now = await _count(http), time.perf_counter()
            leads = not leases or _lease(controller, started) is not None
            if leads and seen.running == wanted and not seen.queued and not adopted:
                adopted, cpu = now, _cpu(controller)
            shown = now if adopted and seen.ready == wanted else 0.0
            _check(controller)
            await asyncio.sleep(COUNT_EVERY)
    await listening.unsubscribe()
    assert heard.first is not None
    return Boot(
        alive=min(alive, heard.first) - began,  # a late look does not make it negative
        connected=heard.first - began,
        lease=_lease(controller, started),
        ready=ready - began,
        adopted=adopted - began,
        shown=shown - began,
        cpu=cpu,
    )


async def _until_open(controller: ControllerProcess) -> float:
    """The system takes the connection: nothing is asked of a loop that has more to do."""
    host, _, port = controller.environ["NEXTHOS_HTTP"].partition(":")
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(host, int(port))
            now = time.perf_counter()
            writer.close()
            return now
        _check(controller)
        await asyncio.sleep(KNOCK_EVERY)


async def _until_ready(http: aiohttp.ClientSession, controller: ControllerProcess) -> float:
    while True:
        async with http.get("/readyz") as reply:
            if reply.status == 200:
                return time.perf_counter()
        _check(controller)
        await asyncio.sleep(LOOK_EVERY)


def _cpu(controller: ControllerProcess) -> float:
    assert controller.process is not None
    fields = Path(f"/proc/{controller.process.pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def _check(controller: ControllerProcess) -> None:
    assert controller.running, controller.log_path.read_text()[-3000:]


@dataclass(frozen=True, slots=True)
class Count:
    """What /metrics says."""

    running: int
    ready: int
    queued: int


async def _count(http: aiohttp.ClientSession) -> Count:
    async with http.get("/metrics") as reply:
        text = await reply.text()
    return Count(
        running=_sum(text, r'nexthos_pipelines\{phase="Running"\}'),
        ready=_sum(text, r"nexthos_pipeline_ready\{.*\}"),
        queued=_sum(text, "nexthos_queue_depth"),
    )


def _sum(text: str, series: str) -> int:
    return sum(int(float(value)) for value in re.findall(rf"^{series} (\S+)$", text, re.MULTILINE))


def _lease(controller: ControllerProcess, started: float) -> Lease | None:
    """The lease, if the log says that it has been acquired; `started` is in seconds since the epoch."""
    for line in controller.log():
        if line["event"] == LEASE_LINE:
            acquired = datetime.fromisoformat(line["timestamp"]).timestamp() - started
            return Lease(acquired, line["waited"])
    return None


# ---- figures


def _figures(
    count: int, ours: Sequence[Boot], other: Sequence[Boot], restarted: Sequence[int]
) -> list[Figure]:
    name = f"restart, {count} running"
    second = Target(1.0, "ours")
    figures = [
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
            f"{name}: connected (or leading) -> adopted",
            [b.adopted - b.acts for b in ours],
            [b.adopted - b.acts for b in other],
            second,
        ),
        _figure(
            f"{name}: start -> all shown ready",
            [b.shown - b.waited for b in ours],
            [b.shown - b.waited for b in other],
        ),
        _figure("  start -> Python is up", [b.alive for b in ours], [b.alive for b in other]),
        Figure("  Python is up -> connected", "s", tuple(b.connected - b.alive for b in ours)),
        _figure("  CPU until adopted", [b.cpu for b in ours], [b.cpu for b in other]),
    ]
    if any(b.lease is not None for b in ours):
        waits = tuple(b.waited for b in ours)
        figures.append(Figure("  waiting for the lease of the killed one", "s", waits))
    return figures


def _figure(
    what: str, ours: Sequence[float], other: Sequence[float], target: Target | None = None
) -> Figure:
    return Figure(what, "s", tuple(ours), tuple(other), "a controller of 0 pipelines", target)
