"""What is done to NATS, to controllers and to engines, one after the other and at times two at once.

Each fault notes for how long nobody may be able to act, by what is promised and not by how long it took:
so a promise that is not kept is seen. The first controller is never killed, only frozen, cut off and
robbed of its lease: what it leaks in ten minutes can be seen at the end.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tests.soak.fleet import Fleet
from tests.soak.story import Span

from nexthos_shared.names import LEASE_KEY
from nexthos_testing.changes import NatsMayBeAway, User
from nexthos_testing.controller import ControllerProcess
from nexthos_testing.nats import NatsServer
from nexthos_testing.two import Pair
from nexthos_testing.wait import eventually

PAUSE = (2.0, 6.0)  # seconds from the end of one fault to the next
FAILOVER = 4.0  # seconds: the TTL of a lease and one renewal
BACK = 1.0  # seconds from NATS being back to changes being acted on
FROZEN = 5.0  # seconds, so longer than a lease lives
MOST_KILLS = 5  # engines at once


@dataclass
class Faults:
    """Strikes until it is cancelled."""

    pair: Pair
    server: NatsServer
    user: User
    fleet: Fleet
    dice: random.Random
    excused: list[Span] = field(default_factory=list)
    struck: Counter[str] = field(default_factory=Counter)
    takeovers: dict[str, list[float]] = field(default_factory=dict)  # seconds, by fault
    history: list[tuple[float, str]] = field(default_factory=list)

    @property
    def kinds(self) -> Mapping[str, tuple[Callable[[], Awaitable[None]], int]]:
        """Faults by name, and how often each comes."""
        return {
            "NATS restarted": (self.nats_restarts, 3),
            "NATS killed": (self.nats_dies, 3),
            "NATS frozen": (self.nats_freezes, 2),
            "leader killed": (self.leader_dies, 3),
            "leader frozen": (self.leader_freezes, 3),
            "leader ended": (self.leader_ends, 1),
            "standby killed": (self.standby_dies, 1),
            "lease deleted": (self.lease_goes, 1),
            "leader and NATS killed": (self.both_die, 2),
            "engines killed": (self.engines_die, 6),
        }

    async def strike_on(self) -> None:
        """For ever."""
        kinds = self.kinds
        while True:
            await asyncio.sleep(self.dice.uniform(*PAUSE))
            names = list(kinds)
            name = self.dice.choices(names, [often for _, often in kinds.values()])[0]
            self.history.append((time.monotonic(), name))
            self.struck[name] += 1
            await kinds[name][0]()
            await self.pair.leader()  # a fault is over when somebody acts again

    # ---- NATS

    async def nats_restarts(self) -> None:
        await self._nats(kill=False)

    async def nats_dies(self) -> None:
        await self._nats(kill=True)

    async def _nats(self, *, kill: bool) -> None:
        began = time.monotonic()
        await (self.server.kill() if kill else self.server.stop())
        await asyncio.sleep(self.dice.choice([0.0, 0.5, 4.0]))  # the last outlives the lease
        await self.server.start()
        self._excuse(began, time.monotonic() + BACK)

    async def nats_freezes(self) -> None:
        began = time.monotonic()
        self.server.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(self.dice.uniform(0.5, 4.0))
        finally:
            self.server.signal(signal.SIGCONT)
        self._excuse(began, time.monotonic() + FAILOVER)

    # ---- controllers

    async def leader_dies(self) -> None:
        await self._take_from(await self.pair.leader(), "leader killed")

    async def leader_freezes(self) -> None:
        await self._freeze(await self.pair.leader(), "leader frozen")

    async def leader_ends(self) -> None:
        leader, began, wall = await self.pair.leader(), time.monotonic(), time.time()
        if self._is_kept(leader):
            await self._freeze(leader, "leader frozen")
            return
        assert await leader.terminate() == 0
        await leader.spawn()
        self._excuse(began, time.monotonic() + BACK)
        await self._taken("leader ended", wall)

    async def standby_dies(self) -> None:
        standby = self.pair.other(await self.pair.leader())
        if not self._is_kept(standby):
            await standby.kill()
            await standby.spawn()

    async def lease_goes(self) -> None:
        began, wall = time.monotonic(), time.time()
        with NatsMayBeAway():
            control = await self.user.base.js.key_value(self.user.base.names.control)
            await control.delete(LEASE_KEY)
            self._excuse(began, time.monotonic() + FAILOVER)
            await eventually(lambda: self._turns(wall), within=30.0, every=0.05)
            await self._taken("lease deleted", wall)

    async def both_die(self) -> None:
        leader, began = await self.pair.leader(), time.monotonic()
        await asyncio.gather(
            self._take_from(leader, "leader and NATS killed"), self._nats(kill=True)
        )
        self._excuse(began, time.monotonic() + FAILOVER)

    async def engines_die(self) -> None:
        self.fleet.kill_some(self.pair.members[0], MOST_KILLS)

    # ---- parts

    def _is_kept(self, one: ControllerProcess) -> bool:
        return one is self.pair.members[0]

    async def _take_from(self, leader: ControllerProcess, what: str) -> None:
        if self._is_kept(leader):
            await self._freeze(leader, what.replace("killed", "frozen", 1))
            return
        began, wall = time.monotonic(), time.time()
        await leader.kill()
        await leader.spawn()
        self._excuse(began, began + FAILOVER)
        await self._taken(what, wall)

    async def _freeze(self, leader: ControllerProcess, what: str) -> None:
        assert leader.process is not None
        began, wall = time.monotonic(), time.time()
        self._excuse(began, began + FAILOVER)
        leader.process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(FROZEN)
        finally:
            leader.process.send_signal(signal.SIGCONT)
        await self._taken(what, wall)

    async def _taken(self, what: str, wall: float) -> None:
        """Note when somebody had the lease again."""
        await self.pair.leader()
        if turns := self._turns(wall):
            self.takeovers.setdefault(what, []).append(min(turns) - wall)

    def _turns(self, since: float) -> list[float]:
        return [at for one in self.pair.members for at in self.pair.leases(one, since)]

    def _excuse(self, began: float, until: float) -> None:
        """In that time it may be that nobody can act."""
        self.excused.append(Span(began, until))
