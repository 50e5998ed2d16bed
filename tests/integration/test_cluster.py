"""A NATS of three servers, every stream on all of them, two controllers: one server after the other ends.

What is asked: nothing that runs is restarted, no change is lost, and a change is acted on soon after the
moment at which the store takes writes again. How long an election takes is the servers' business.

NEXTHOS_TEST_ROUNDS=12 takes as many rounds.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from nexthos_shared.names import Names
from nexthos_shared.nats.connection import ConnectOptions, connect
from nexthos_shared.store import Store
from nexthos_testing.beats import Beats, hearing
from nexthos_testing.changes import User, user_of
from nexthos_testing.cluster import Cluster, Gaps, cluster_of, gaps_of
from nexthos_testing.nats import NatsServer
from nexthos_testing.two import Pair, pair_of
from nexthos_testing.wait import eventually

ROUNDS = int(os.environ.get("NEXTHOS_TEST_ROUNDS", "4"))
MINUTES = 3 + ROUNDS
EVERY = 0.2  # seconds from one change to the next
CHANGES = 5  # of a round that are waited for, from when the store takes writes again
STEADY = [f"steady{n}" for n in range(6)]
MOVING = [f"moving{n}" for n in range(2)]


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cluster_of(tmp_path / "cluster") as three:
        yield three


@pytest.fixture
async def names(cluster: Cluster, namespace: str) -> Names:
    """Of a store with three copies of everything, as `nexthos setup --replicas 3` makes it."""
    async with connect(ConnectOptions(cluster.url), name="test", daemon=False) as link:
        store = Store.of(link, Names(namespace))
        await store.setup(replicas=3)
    return Names(namespace)


@pytest.fixture
async def pair(cluster: Cluster, names: Names, tmp_path: Path) -> AsyncIterator[Pair]:
    async with pair_of(cluster.url, names.namespace, tmp_path / "state") as both:
        yield both


@pytest.fixture
async def user(cluster: Cluster, names: Names) -> AsyncIterator[User]:
    async with user_of(cluster.url, names) as one:
        yield one


@pytest.fixture
async def beats() -> AsyncIterator[Beats]:
    async with hearing() as heard:
        yield heard


@dataclass
class Stage:
    """Pipelines that need no NATS themselves: what restarts is the controllers' doing."""

    cluster: Cluster
    names: Names
    user: User
    beats: Beats

    @property
    def streams(self) -> list[str]:
        names = self.names
        buckets = [f"KV_{b}" for b in (names.pipelines, names.status, names.control)]
        return [*buckets, f"OBJ_{names.configs}"]

    async def set_up(self) -> None:
        for key in STEADY + MOVING:
            await self.user.base.config(key, self.beats.config(key, "50ms"))
            await self.user.put(key, env={"MARK": "m0"})
        for key in STEADY + MOVING:
            await self.heard(key, "m0")

    async def heard(self, key: str, mark: str) -> None:
        await eventually(lambda: self.beats.mark(key) == mark, within=60.0)

    def steady(self) -> dict[str, int | None]:
        return {key: port for key, port in self.beats.ports().items() if key in STEADY}


@pytest.fixture
async def stage(cluster: Cluster, names: Names, pair: Pair, user: User, beats: Beats) -> Stage:
    stage = Stage(cluster, names, user, beats)
    await stage.set_up()
    return stage


async def killed(server: NatsServer) -> None:
    await server.kill()


async def restarted(server: NatsServer) -> None:
    await server.restart()


async def lame_duck(server: NatsServer) -> None:
    """It sends its clients away before it ends, as an upgrade would."""
    server.signal(signal.SIGUSR2)
    await eventually(lambda: not server.running, within=90.0)


async def frozen(server: NatsServer) -> None:
    """It holds its connections and says nothing: nobody is told that it is gone."""
    server.signal(signal.SIGSTOP)


async def back(server: NatsServer) -> None:
    """Running again, whatever was done to it."""
    if server.running:
        server.signal(signal.SIGCONT)
    else:
        await server.start()


Harm = Callable[[NatsServer], Awaitable[None]]
HARMS: list[Harm] = [killed, restarted, lame_duck, frozen]


@asynccontextmanager
async def five_changes_a_second(user: User) -> AsyncIterator[None]:
    """Labels, which restart nothing, and now and then a variable, which does."""

    async def change(number: int) -> None:
        if number % 10:
            await user.put(
                STEADY[number % len(STEADY)], labels={"number": str(number)}, env={"MARK": "m0"}
            )
            return
        await user.put(MOVING[number // 10 % len(MOVING)], env={"MARK": f"m{number}"})

    async def arrive() -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in itertools.count():
                tasks.create_task(change(number))
                await asyncio.sleep(EVERY)

    arriving = asyncio.create_task(arrive())
    try:
        yield
    finally:
        arriving.cancel()
        await asyncio.gather(arriving, return_exceptions=True)


async def settled(user: User) -> None:
    """Wait until every change is acted on."""

    async def none_waits() -> bool:
        await user.look()
        return not user.waiting()

    await eventually(none_waits, within=60.0, every=0.2)


async def acted_on_again(user: User, gaps: Gaps) -> None:
    """Wait until the store takes writes, and changes that came after that are acted on."""
    harmed = time.time()
    await eventually(lambda: gaps.closed, within=60.0, every=0.02)

    async def done() -> bool | str:
        since = max((harmed, *(end for _, end in gaps.spans)))
        later = [change for change in user.changes if change.stored_at > since]
        acted = sum(user.acted_at(change) is not None for change in later)
        seen.append(f"{acted} of {len(later)} acted on, connected: {user.base.nc.is_connected}")
        return acted >= CHANGES

    seen: list[str] = []

    try:
        await eventually(done, within=60.0, every=0.05)
    except AssertionError as error:
        raise AssertionError(f"{seen[-1]}; no writes: {gaps.spans}") from error


def delays(user: User, gaps: Gaps) -> list[float]:
    """Per change, the longest time in which it could have been acted on and was not."""
    found = []
    for change in user.changes:
        acted = user.acted_at(change)
        assert acted is not None
        found.append(gaps.longest_chance(change.stored_at, acted))
    return found


@pytest.mark.timeout(60 * MINUTES)
@pytest.mark.parametrize("harm", HARMS, ids=[harm.__name__ for harm in HARMS])
async def test_servers_end_one_after_the_other_and_nothing_restarts_nor_is_any_change_lost(
    stage: Stage, harm: Harm, capsys: pytest.CaptureFixture[str]
) -> None:
    steady = stage.steady()
    rounds = ROUNDS if harm is killed else max(1, ROUNDS // 3)
    worst: list[float] = []
    async with gaps_of(stage.cluster.url, stage.names) as gaps:
        async with five_changes_a_second(stage.user):
            for number in range(rounds):
                server = stage.cluster.servers[number % len(stage.cluster.servers)]
                await harm(server)
                await acted_on_again(stage.user, gaps)
                await back(server)
                await stage.cluster.are_current(stage.streams)
        await settled(stage.user)
        await eventually(lambda: gaps.closed, within=30.0)
        worst = delays(stage.user, gaps)
    for key in MOVING:
        # A frozen server still stores what reached it, when it thaws: the store says what came last.
        stored = await (await stage.user.base.pipelines()).get(key)
        await stage.heard(key, json.loads(stored.value)["env"]["MARK"])
    assert stage.steady() == steady
    assert not stage.beats.twins()
    with capsys.disabled():
        print(f"\n{harm.__name__}, {rounds} rounds, {shown(worst, gaps)}")


def shown(values: list[float], gaps: Gaps) -> str:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    longest = max((end - start for start, end in gaps.spans), default=0.0)
    return (
        f"{len(values)} changes acted on after: median {cuts[49]:.3f} s, p99 {cuts[98]:.3f} s, "
        f"most {max(values):.3f} s; the store took no writes for {longest:.1f} s at most"
    )
