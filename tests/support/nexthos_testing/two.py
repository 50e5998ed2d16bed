"""Two controllers of one namespace on one machine, and who of them did what when.

Judged by what can't be wrong: the server's times of what is stored, and the kernel's of what started.
What a log says *afterwards* (a stop that was awaited, a status that was acknowledged) is no effect: a
controller that was frozen between effect and line writes the line when it is thawed.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from nats.aio.msg import Msg

from nexthos_shared.names import LEASE_KEY
from nexthos_testing.controller import CONTROLLER, ControllerProcess, kill_leftovers
from nexthos_testing.field import Field
from nexthos_testing.wait import eventually

TICK = 1 / os.sysconf("SC_CLK_TCK")  # seconds: what the kernel rounds a start down to
ACTS = "controller acts"
NO_MORE = "controller acts no more; what runs is left running"


@dataclass(frozen=True, slots=True)
class Effect:
    """Something that was done. `at`: seconds since the epoch."""

    at: float
    by: str  # the holder
    what: str


def logged_at(line: Mapping[str, Any]) -> float:
    """Seconds since the epoch."""
    return datetime.fromisoformat(line["timestamp"]).timestamp()


class Log:
    """A controller's log that is read on, not anew: it is asked often, and may become long."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._lines: list[dict[str, Any]] = []

    def lines(self) -> list[dict[str, Any]]:
        """All whole lines so far."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            new = new[: new.rfind(b"\n") + 1]
            self._read += len(new)
            self._lines += [json.loads(x) for x in new.splitlines() if x.startswith(b"{")]
        return self._lines


@dataclass
class Pair:
    """Controllers that share a state folder."""

    members: tuple[ControllerProcess, ControllerProcess]
    logs: dict[str, Log] = field(default_factory=dict)

    def log(self, one: ControllerProcess) -> list[dict[str, Any]]:
        return self.logs.setdefault(one.name, Log(one.log_path)).lines()

    def said(self, one: ControllerProcess, event: str, since: float = 0.0) -> list[dict[str, Any]]:
        """Lines of its log with that event, from that moment on."""
        return [x for x in self.log(one) if x["event"] == event and logged_at(x) >= since]

    def other(self, one: ControllerProcess) -> ControllerProcess:
        return self.members[1 - self.members.index(one)]

    async def leader(self) -> ControllerProcess:
        """Who acted last, and has not said that it acts no more."""

        def one() -> ControllerProcess | None:
            living = [m for m in self.members if m.running]
            turns = [(logged_at(x), m) for m in living for x in self.said(m, ACTS, m.born)]
            at, member = max(turns, key=lambda turn: turn[0], default=(0.0, None))
            return member if member and not self.said(member, NO_MORE, at) else None

        found = await eventually(one, within=30.0, every=0.02)
        assert isinstance(found, ControllerProcess)
        return found

    async def acts(self, one: ControllerProcess, since: float) -> float:
        """Wait until it has the lease and acts; when it got the lease, seconds since the epoch."""
        await eventually(lambda: self.said(one, ACTS, since), within=30.0, every=0.02)
        return self.leases(one, since)[0]

    def leases(self, one: ControllerProcess, since: float = 0.0) -> list[float]:
        """When it got the lease, seconds since the epoch."""
        return [logged_at(line) for line in self.said(one, "lease acquired", since)]

    async def stands_by(self, one: ControllerProcess, since: float) -> None:
        """Wait until it says that somebody else has the lease."""
        await eventually(
            lambda: self.said(one, "waiting for the lease", since), within=30.0, every=0.02
        )

    def starts(self) -> list[Effect]:
        """Every start, by its holder, at the kernel's time."""
        boot, found = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME), []
        for member in self.members:
            holder = ""
            for line in self.log(member):
                if line["event"] == "lease acquired":
                    holder = line["holder"]
                elif line["event"] == "started":
                    ticks = int(line["uid"].split("-")[1])
                    found.append(Effect(boot + ticks * TICK, holder, f"started {line['uid']}"))
        return found


@asynccontextmanager
async def pair_of(
    url: str,
    namespace: str,
    state_dir: Path,
    command: Sequence[str | Path] = (CONTROLLER,),
    **environ: str,
) -> AsyncIterator[Pair]:
    """Both started, and one of them acts; when the test ends, nothing of them is left."""
    first, second = (
        ControllerProcess(url, namespace, state_dir, environ, name=f"-{name}", command=command)
        for name in "ab"
    )
    pair = Pair((first, second))
    try:
        await first.start()
        began = time.time()
        await second.spawn()
        await pair.stands_by(second, began)
        yield pair
    finally:
        for one in pair.members:
            if one.running:
                await one.kill()
        kill_leftovers(state_dir)


@dataclass
class Witness:
    """What the server stored of the lease and of statuses, at the server's times."""

    turns: list[tuple[float, str]] = field(default_factory=list)  # since when who has the lease
    writes: list[Effect] = field(default_factory=list)

    async def lease(self, message: Msg) -> None:
        if message.data and not json.loads(message.data).get("released"):
            holder = json.loads(message.data)["holder"]
            if not self.turns or self.turns[-1][1] != holder:
                # the first one has had it since some time before we looked
                self.turns.append((_stored_at(message) if self.turns else 0.0, holder))

    async def status(self, message: Msg) -> None:
        if message.data:
            status, key = json.loads(message.data), message.subject.rpartition(".")[2]
            what = f"status of {key}: {status['phase']}"
            self.writes.append(Effect(_stored_at(message), status["controller"], what))

    def out_of_turn(self, effects: Iterable[Effect], slack: float = 0.0) -> list[str]:
        """Effects of somebody who did not have the lease then; `slack`: seconds."""
        ends = [since for since, _ in self.turns[1:]] + [math.inf]
        spans = [
            (since - slack, end + slack, holder)
            for (since, holder), end in zip(self.turns, ends, strict=True)
        ]
        return [
            f"{effect}; turns: {self.turns}"
            for effect in effects
            if not any(a <= effect.at <= b and holder == effect.by for a, b, holder in spans)
        ]


def _stored_at(message: Msg) -> float:
    return message.metadata.timestamp.timestamp()


@asynccontextmanager
async def witness_of(user: Field) -> AsyncIterator[Witness]:
    """Watch what is stored; what a compare-and-set refused is not seen here."""
    witness, names = Witness(), user.names
    subjects = {
        f"$KV.{names.control}.{LEASE_KEY}": witness.lease,
        f"$KV.{names.status}.*": witness.status,
    }
    subscriptions = [
        await user.js.subscribe(subject, ordered_consumer=True, cb=take)
        for subject, take in subjects.items()
    ]
    try:
        yield witness
    finally:
        for subscription in subscriptions:
            await subscription.unsubscribe()
