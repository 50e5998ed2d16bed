"""One start of a controller, read from outside: HTTP, what it asks NATS for, its log.

Comes in: a controller that does not run, and how many pipelines it is to find running. Goes out: a `Boot`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from dataclasses import dataclass
from datetime import datetime

import aiohttp
from nats.aio.msg import Msg

from benchmarks.ground import Ground
from benchmarks.processes import cpu_of
from nexthos_testing.controller import ControllerProcess

KNOCK_EVERY = 0.001  # seconds between knocks at the port that is not open yet
LOOK_EVERY = 0.005  # seconds between looks at /readyz
COUNT_EVERY = 0.02  # seconds between looks at /metrics, which cost the controller some milliseconds
WITHIN = 60.0  # seconds for one start
LEASE_LINE = "lease acquired"  # of the controller's log
ACTS_LINE = "controller acts"  # it has compared everything: all that it is to look at is queued


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
    lease: Lease
    ready: float  # /readyz: it has caught up with the store
    adopted: float  # all was compared with what executors list, nothing waits, and all are Running
    cpu: float  # seconds of CPU until it had adopted; engines that it asked what they are included

    @property
    def acts(self) -> float:
        """From when on it may act."""
        return self.lease.acquired

    @property
    def waited(self) -> float:
        """For the lease of the one that was killed."""
        return self.lease.waited


@dataclass
class Heard:
    """The first sign of a controller on NATS: the other one, of another namespace, goes on asking."""

    namespace: str
    first: float | None = None

    async def request(self, msg: Msg) -> None:
        """Anything that it asks for."""
        if self.first is None and f"_{self.namespace}-" in msg.subject:  # KV_<ns>-..., OBJ_<ns>-...
            self.first = time.perf_counter()


async def boot(here: Ground, controller: ControllerProcess, wanted: int) -> Boot:
    """Start it, and see how far it is until all `wanted` are adopted.

    Before it acts it knows from the store that all are Running, and has asked no executor.
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
        while True:
            seen, adopted = await count(http), time.perf_counter()
            if _acts(controller) and not seen.queued and seen.running == wanted:
                cpu = cpu_of(_pid(controller), children=True)
                break
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


def _pid(controller: ControllerProcess) -> int:
    assert controller.process is not None
    return controller.process.pid


def _check(controller: ControllerProcess) -> None:
    assert controller.running, controller.log_path.read_text()[-3000:]


@dataclass(frozen=True, slots=True)
class Count:
    """What /metrics says."""

    running: int
    queued: int


async def count(http: aiohttp.ClientSession) -> Count:
    """Ask it."""
    async with http.get("/metrics") as reply:
        text = await reply.text()
    return Count(
        running=_sum(text, r'nexthos_pipelines\{phase="Running"\}'),
        queued=_sum(text, "nexthos_queue_depth"),
    )


def _sum(text: str, series: str) -> int:
    return sum(int(float(value)) for value in re.findall(rf"^{series} (\S+)$", text, re.MULTILINE))


def _lease(controller: ControllerProcess, started: float) -> Lease:
    """What the log says of it; `started` is in seconds since the epoch."""
    for line in controller.log():
        if line["event"] == LEASE_LINE:
            acquired = datetime.fromisoformat(line["timestamp"]).timestamp() - started
            return Lease(acquired, line["waited"])
    raise RuntimeError("it acts, and its log tells of no lease")


def _acts(controller: ControllerProcess) -> bool:
    return any(line["event"] == ACTS_LINE for line in controller.log())
