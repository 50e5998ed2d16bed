"""Two controllers on one machine: whoever leads is killed and frozen, and what runs does not notice.

NEXTHOS_TEST_ROUNDS=20 takes as many rounds of each kind, which makes some minutes.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from nats.js.errors import NotFoundError

from nexthos_shared.names import LEASE_KEY
from nexthos_testing import puppet
from nexthos_testing.beats import Beats, hearing
from nexthos_testing.controller import ControllerProcess, engine_processes
from nexthos_testing.field import Field, field_of
from nexthos_testing.nats import NatsServer
from nexthos_testing.two import ACTS, NO_MORE, TICK, Pair, Witness, pair_of, witness_of
from nexthos_testing.wait import eventually

ROUNDS = int(os.environ.get("NEXTHOS_TEST_ROUNDS", "3"))  # of each kind
MINUTES = 2 + ROUNDS / 3
STEADY = [f"steady{n}" for n in range(8)]


@pytest.fixture
async def field(nats_server: NatsServer, namespace: str) -> AsyncIterator[Field]:
    async with field_of(nats_server.url, namespace) as user:
        yield user


@pytest.fixture
async def pair(nats_server: NatsServer, field: Field, tmp_path: Path) -> AsyncIterator[Pair]:
    namespace = field.names.namespace
    async with pair_of(nats_server.url, namespace, tmp_path / "state") as both:
        yield both


@pytest.fixture
async def beats() -> AsyncIterator[Beats]:
    async with hearing() as heard:
        yield heard


def engine_of(pair: Pair, key: str) -> list[int]:
    """PIDs of all engines of that pipeline."""
    running = engine_processes(pair.members[0].state_dir)
    return [pid for pid, argv in running.items() if f"-{key}-" in argv and "/config.yaml" in argv]


@dataclass
class Stage:
    """Eight pipelines that nobody touches, and one that is changed all the time."""

    pair: Pair
    field: Field
    beats: Beats
    marks: int = 0

    async def set_up(self) -> None:
        for key in [*STEADY, "moving"]:
            await self.field.config(key, self.beats.config(key, "50ms"))
            await self.field.put(key, env={"MARK": "m0"})
        for key in [*STEADY, "moving"]:
            await self.field.reaches(key, "Running", within=60.0)
        await self.heard("m0")

    async def change(self) -> str:
        """Give the moving one another mark."""
        self.marks += 1
        mark = f"m{self.marks}"
        await self.field.put("moving", env={"MARK": mark})
        return mark

    async def heard(self, mark: str) -> None:
        await eventually(lambda: self.beats.mark("moving") == mark, within=30.0)

    def steady(self) -> dict[str, int | None]:
        return {key: port for key, port in self.beats.ports().items() if key in STEADY}


@pytest.fixture
async def stage(pair: Pair, field: Field, beats: Beats) -> Stage:
    stage = Stage(pair, field, beats)
    await stage.set_up()
    return stage


async def killed(stage: Stage, leader: ControllerProcess, began: float) -> None:
    """What comes after: the other leads, and the killed one stands by."""
    await leader.process.wait() if leader.process else None
    started = time.time()
    await leader.spawn()
    await stage.pair.stands_by(leader, started)


async def thawed(stage: Stage, leader: ControllerProcess, began: float) -> None:
    """What comes after: it sees by itself that its time is over, and stands by."""
    assert leader.process is not None
    now = time.time()
    leader.process.send_signal(signal.SIGCONT)
    await stage.pair.stands_by(leader, now)
    assert stage.pair.said(leader, "lease lost", began)
    assert stage.pair.said(leader, NO_MORE, began)


@pytest.mark.fault(2, 6, 7)
@pytest.mark.timeout(60 * MINUTES)
async def test_leaders_are_killed_and_frozen_and_never_do_two_act_nor_is_anything_touched(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    pair, dice = stage.pair, random.Random(7)
    untouched, processes = stage.steady(), {key: engine_of(pair, key) for key in STEADY}
    takes: dict[signal.Signals, list[float]] = {signal.SIGKILL: [], signal.SIGSTOP: []}
    async with witness_of(stage.field) as witness:
        for number in range(2 * ROUNDS):
            how = (signal.SIGKILL, signal.SIGSTOP)[number % 2]
            leader = await pair.leader()
            assert leader.process is not None
            await stage.change()  # so that it is struck at any moment of acting on it
            await asyncio.sleep(dice.uniform(0.0, 0.15))
            began = time.time()
            leader.process.send_signal(how)
            takes[how].append(await pair.acts(pair.other(leader), began) - began)
            await stage.heard(await stage.change())
            await (killed if how is signal.SIGKILL else thawed)(stage, leader, began)
            assert stage.steady() == untouched
        await stage.heard(await stage.change())
        await eventually(lambda: len(engine_of(pair, "moving")) == 1)
        status = await stage.field.reaches("moving", "Running")
        assert status.restarts == 0
        judge(stage, witness)
    assert {key: engine_of(pair, key) for key in STEADY} == processes
    assert stage.steady() == untouched
    with capsys.disabled():
        for how, seconds in takes.items():
            print(
                f"\n{how.name}: {len(seconds)} times, the other has the lease after {shown(seconds)}"
            )


def shown(seconds: list[float]) -> str:
    return f"{min(seconds):.2f} to {max(seconds):.2f} s"


def judge(stage: Stage, witness: Witness) -> None:
    """Never two: not by what was stored, nor by what was started, nor by what engines say."""
    starts = stage.pair.starts()
    assert len(witness.turns) > 1
    assert len(witness.writes) > 0
    assert len(starts) > len(witness.turns)
    assert witness.out_of_turn(witness.writes) == []
    assert witness.out_of_turn(starts, slack=2 * TICK) == []
    assert stage.beats.twins() == {}


@pytest.mark.fault(1)
async def test_a_leader_that_is_terminated_hands_over_and_nothing_is_touched(stage: Stage) -> None:
    pair, untouched = stage.pair, stage.steady()
    leader, began = await pair.leader(), time.time()
    assert await leader.terminate() == 0
    assert pair.said(leader, "lease released", began)
    await pair.acts(pair.other(leader), began)
    await stage.heard(await stage.change())
    assert stage.steady() == untouched
    assert stage.beats.twins() == {}


@pytest.mark.fault(8)
async def test_the_lease_is_deleted_by_hand_and_its_holder_stops_acting_before_one_acts_again(
    stage: Stage,
) -> None:
    pair, untouched = stage.pair, stage.steady()
    leader, began = await pair.leader(), time.time()
    async with witness_of(stage.field) as witness:
        await eventually(lambda: witness.turns)
        await (await stage.field.js.key_value(stage.field.names.control)).delete(LEASE_KEY)
        await eventually(lambda: pair.said(leader, NO_MORE, began))
        await stage.heard(await stage.change())
        assert witness.out_of_turn(witness.writes) == []
    assert stage.steady() == untouched
    assert stage.beats.twins() == {}


@pytest.mark.fault(59)
async def test_both_sleep_longer_than_a_lease_lives_as_their_machine_may_and_one_acts_afterwards(
    stage: Stage,
) -> None:
    pair, untouched = stage.pair, stage.steady()
    leader = await pair.leader()
    async with witness_of(stage.field) as witness:
        await eventually(lambda: witness.turns)
        began = time.time()
        signal_both(pair, signal.SIGSTOP)
        await stage.change()
        await eventually(lambda: has_expired(stage.field), within=20.0)
        signal_both(pair, signal.SIGCONT)
        await eventually(lambda: pair.said(leader, "lease lost", began))
        await eventually(lambda: any(pair.said(one, ACTS, began) for one in pair.members))
        await stage.heard(await stage.change())
        assert witness.out_of_turn(witness.writes) == []
    assert stage.steady() == untouched
    assert stage.beats.twins() == {}


async def has_expired(field: Field) -> bool:
    """Whether nobody renewed the lease until the server itself removed it."""
    stream, subject = f"KV_{field.names.control}", f"$KV.{field.names.control}.{LEASE_KEY}"
    try:
        await field.js.get_last_msg(stream, subject, direct=True)
    except NotFoundError:
        return True
    return False


def signal_both(pair: Pair, number: signal.Signals) -> None:
    for one in pair.members:
        assert one.process is not None
        one.process.send_signal(number)


def asked_to_end(pair: Pair) -> bool:
    """Whether the one execution that there is was asked to."""
    [folder] = (pair.members[0].state_dir / "executions").iterdir()
    return bool(json.loads((folder / "handle.json").read_text())["life"]["stopping"])


@pytest.fixture
def stubborn(tmp_path: Path) -> dict[str, str]:
    """Settings with an engine that does not end when it is asked to."""
    engine, settings = tmp_path / "stubborn", tmp_path / "nexthos.yaml"
    engine.write_text(f"#!/bin/sh\nexec '{sys.executable}' -IS '{puppet.__file__}' \"$@\"\n")
    engine.chmod(0o700)
    settings.write_text(f"engines: {{stubborn: {{binary: {engine}}}}}\n")
    return {"NEXTHOS_CONFIG": str(settings)}


@pytest.mark.fault(78)
@pytest.mark.parametrize("again", ["the same version", "another version"])
async def test_frozen_in_the_middle_of_a_stop_its_kill_and_its_removal_miss_the_new_one(
    nats_server: NatsServer,
    field: Field,
    stubborn: dict[str, str],
    tmp_path: Path,
    again: str,
) -> None:
    namespace, state_dir = field.names.namespace, tmp_path / "state"
    async with pair_of(nats_server.url, namespace, state_dir, **stubborn) as pair:
        await field.config("orders", '{"term": "ignore"}')
        await field.echo("orders", "v2", "2")
        first = {"engine": "stubborn", "stop_timeout": "2s"}
        await field.put("orders", **first)
        await field.reaches("orders", "Running")
        [old] = engine_of(pair, "orders")
        leader, began = await pair.leader(), time.time()
        assert leader.process is not None
        await field.delete("orders")
        await eventually(lambda: asked_to_end(pair))
        leader.process.send_signal(signal.SIGSTOP)  # within the grace; then comes its SIGKILL
        if again == "another version":
            await field.put("orders", version="2", stop_timeout="2s")
        else:
            await field.put("orders", **first)
        await pair.acts(pair.other(leader), began)
        if again == "another version":
            assert await field.says("orders", within=30.0) == "v2 hello"
        [new] = engine_of(pair, "orders")
        assert (new != old) is (again == "another version")
        await asyncio.sleep(max(0.0, began + 3.0 - time.time()))  # the grace is over for certain
        leader.process.send_signal(signal.SIGCONT)
        await eventually(lambda: pair.said(leader, NO_MORE, began), within=20.0)
        await pair.stands_by(leader, began)
        status = await field.reaches("orders", "Running")
        assert engine_of(pair, "orders") == [new]
        assert status.restarts == 0
        executions = state_dir / "executions"
        await eventually(lambda: len(list(executions.iterdir())) == 1)
        [execution] = executions.iterdir()
        assert (execution / "config.yaml").exists()
