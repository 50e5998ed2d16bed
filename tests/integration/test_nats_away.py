"""The NATS server ends again and again while pipelines run and changes arrive.

NEXTHOS_TEST_ROUNDS=20 takes as many rounds of each kind, which makes several minutes.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from nexthos_testing.changes import User, user_of
from nexthos_testing.controller import ControllerProcess, controller_process, engine_processes
from nexthos_testing.field import Field, field_of
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually

ROUNDS = int(os.environ.get("NEXTHOS_TEST_ROUNDS", "6"))  # of each kind
MINUTES = 2 + ROUNDS / 4
EVERY = 0.2  # seconds from one change to the next
STEADY = [f"steady{n}" for n in range(16)]
MOVING = [f"moving{n}" for n in range(4)]


@pytest.fixture
async def controller(
    fresh_nats: NatsServer, namespace: str, tmp_path: Path
) -> AsyncIterator[ControllerProcess]:
    """On a server that the test may end."""
    async with controller_process(fresh_nats.url, namespace, tmp_path / "state") as running:
        yield running


@pytest.fixture
async def field(
    fresh_nats: NatsServer, namespace: str, controller: ControllerProcess
) -> AsyncIterator[Field]:
    async with field_of(fresh_nats.url, namespace) as user:
        yield user


def engines_of(controller: ControllerProcess, keys: list[str]) -> dict[str, list[int]]:
    """PIDs of the engines of each pipeline."""
    running = engine_processes(controller.state_dir).items()
    return {key: sorted(pid for pid, argv in running if f"-{key}-" in argv) for key in keys}


async def consumers(field: Field) -> dict[str, int]:
    """Consumers on the server, by stream: no stream here is anybody else's."""
    return {s.config.name: s.state.consumer_count for s in await field.js.streams_info()}


def times(controller: ControllerProcess, event: str) -> list[float]:
    """When the controller's log says that of its first connection, seconds since the epoch."""
    said = {"event": event, "connection": f"{controller.namespace} controller"}
    lines = (line for line in controller.log() if said.items() <= line.items())
    return [datetime.fromisoformat(line["timestamp"]).timestamp() for line in lines]


@asynccontextmanager
async def five_changes_a_second(user: User) -> AsyncIterator[dict[str, str]]:
    """Four labels, which restart nothing, and a variable, which does; yields the last values."""
    marks: dict[str, str] = {}

    async def change(number: int) -> None:
        if number % 5:
            key = STEADY[number % len(STEADY)]
            await user.put(key, labels={"number": str(number)}, env={"MARK": "m0"})
            return
        key, mark = MOVING[number // 5 % len(MOVING)], f"m{number}"
        stored = await user.put(key, env={"MARK": mark})
        if stored.revision == max(c.revision for c in user.changes if c.key == key):
            marks[key] = mark

    async def arrive() -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in itertools.count():
                tasks.create_task(change(number))
                await asyncio.sleep(EVERY)

    arriving = asyncio.create_task(arrive())
    try:
        yield marks
    finally:
        arriving.cancel()
        await asyncio.gather(arriving, return_exceptions=True)


async def until_acted_on(user: User, controller: ControllerProcess, back: int) -> None:
    """Wait for that many reconnects, and until five changes that came after the last are acted on."""
    await eventually(lambda: len(times(controller, "NATS is back")) >= back, within=20.0, every=0.1)
    await user.look()
    since = times(controller, "NATS is back")[-1]

    def done() -> bool:
        later = [change for change in user.changes if change.stored_at > since]
        return sum(user.acted_at(change) is not None for change in later) >= 5

    await eventually(done, within=20.0, every=0.1)


def delays(user: User, backs: list[float]) -> list[float]:
    """Per change, the time from when it could be acted on until it was."""
    found = []
    for change in user.changes:
        acted = user.acted_at(change)
        assert acted is not None
        back = max((b for b in backs if b <= acted), default=0.0)
        found.append(max(0.0, acted - max(change.stored_at, back)))
    return found


def shown(values: list[float]) -> str:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return (
        f"{len(values)} changes acted on after: median {cuts[49]:.3f} s, p90 {cuts[89]:.3f} s, "
        f"p99 {cuts[98]:.3f} s, most {max(values):.3f} s"
    )


async def settled(user: User) -> None:
    """Wait until every change is acted on."""

    async def none_waits() -> bool:
        await user.look()
        return not user.waiting()

    await eventually(none_waits, within=30.0, every=0.2)


@pytest.mark.fault(9, 10, 16)
@pytest.mark.timeout(60 * MINUTES)
async def test_nats_restarts_and_dies_again_and_again_and_nothing_restarts_that_need_not(
    field: Field,
    controller: ControllerProcess,
    fresh_nats: NatsServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for key in STEADY + MOVING:
        await field.echo(key, "${MARK}")
        await field.put(key, env={"MARK": "m0"})
    for key in STEADY + MOVING:
        await field.reaches(key, "Running", within=60.0)
    steady, before = engines_of(controller, STEADY), await consumers(field)
    assert all(len(pids) == 1 for pids in steady.values())

    async with user_of(fresh_nats.url, field.names) as user:
        async with five_changes_a_second(user) as marks:
            for number in range(2 * ROUNDS):
                await fresh_nats.restart(kill=number % 2 == 1)
                await until_acted_on(user, controller, number + 1)
        await settled(user)
        assert engines_of(controller, STEADY) == steady
        for key, mark in marks.items():
            await user.base.until_it_says(key, f"{mark} hello")
        for key in STEADY:
            assert await user.base.says(key) == "m0 hello"
        for key in STEADY + MOVING:
            status = await user.base.reaches(key, "Running")
            assert (status.restarts, status.drifts) == (0, 0), key
        assert all(len(pids) == 1 for pids in engines_of(controller, MOVING).values())

        async def as_before() -> Any:
            now = await consumers(user.base)
            return now == before or _Otherwise(now)

        # those of the watches before expire by themselves, 15 s after the server knows them again
        await eventually(as_before, within=45.0, every=0.5)
    backs = times(controller, "NATS is back")
    assert len(backs) == 2 * ROUNDS
    with capsys.disabled():
        print(f"\n{2 * ROUNDS} restarts, {shown(delays(user, backs))}")


class _Otherwise:
    def __init__(self, value: object) -> None:
        self._value = value

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return repr(self._value)
