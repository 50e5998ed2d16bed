"""Who may act: contenders as processes that are frozen, killed and robbed of their lease."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

import nexthos_testing
from nexthos_controller.election.lease import boottime
from nexthos_shared.names import LEASE_KEY
from nexthos_testing.wait import eventually

CHILD = Path(__file__).parent / "lease_child.py"
TTL = 1.0  # seconds


@dataclass(frozen=True)
class Pass:
    """One call of guard that let an effect through."""

    at: float
    holder: str
    token: int


class Crowd:
    """Contenders as processes, and what they wrote down."""

    def __init__(self, url: str, namespace: str, folder: Path) -> None:
        self._arguments = (url, namespace)
        self._folder = folder
        self._processes: dict[str, asyncio.subprocess.Process] = {}

    async def start(self, holder: str, ttl: float = TTL) -> None:
        support = str(Path(nexthos_testing.__file__).parents[1])
        self._processes[holder] = await asyncio.create_subprocess_exec(
            sys.executable,
            CHILD,
            *self._arguments,
            holder,
            str(ttl),
            self._journal(holder),
            env={**os.environ, "PYTHONPATH": support},
            stdout=asyncio.subprocess.DEVNULL,
        )

    def signal(self, holder: str, number: signal.Signals) -> None:
        self._processes[holder].send_signal(number)

    async def kill(self, holder: str) -> None:
        process = self._processes.pop(holder)
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    async def end(self) -> None:
        for holder in list(self._processes):
            await self.kill(holder)

    def _journal(self, holder: str) -> Path:
        return self._folder / f"{holder}.journal"

    def lines(self, holder: str) -> list[list[str]]:
        """Whole lines only: a killed writer may leave half of one."""
        file = self._journal(holder)
        text = file.read_text() if file.exists() else ""
        return [line.split() for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def passes(self) -> list[Pass]:
        """All of all contenders, in the order of time."""
        found = []
        for file in self._folder.glob("*.journal"):
            for line in self.lines(file.stem):
                if line[0] == "pass":
                    found.append(Pass(float(line[1]), file.stem, int(line[2])))
        return sorted(found, key=lambda p: p.at)

    def acts(self, holder: str, after: float) -> bool:
        return any(line[0] == "pass" and float(line[1]) > after for line in self.lines(holder))

    async def goes_on(self) -> None:
        """Wait until somebody acts that did not before this call."""
        now = boottime()
        await eventually(lambda: any(p.at > now for p in self.passes()), within=20.0, every=0.05)


@pytest.fixture
async def crowd(nats_server, store, tmp_path):
    crowd = Crowd(nats_server.url, store.names.namespace, tmp_path)
    try:
        yield crowd
    finally:
        await crowd.end()


def turns(passes: list[Pass]) -> list[tuple[int, str]]:
    """Who acted, in the order of time; a turn ends when another one acts."""
    found: list[tuple[int, str]] = []
    for one in passes:
        if not found or found[-1] != (one.token, one.holder):
            found.append((one.token, one.holder))
    return found


@pytest.mark.fault(7)
async def test_a_holder_frozen_past_its_lease_is_refused_at_its_first_step_afterwards(crowd):
    await crowd.start("frozen")
    await eventually(lambda: crowd.acts("frozen", 0))
    await crowd.start("other")
    crowd.signal("frozen", signal.SIGSTOP)
    await eventually(lambda: crowd.acts("other", 0), within=20.0)
    before = len(crowd.lines("frozen"))
    crowd.signal("frozen", signal.SIGCONT)
    await eventually(lambda: len(crowd.lines("frozen")) > before)
    assert crowd.lines("frozen")[before][0] == "refused"
    now = boottime()
    await eventually(lambda: crowd.acts("other", now))
    assert [holder for _, holder in turns(crowd.passes())][:2] == ["frozen", "other"]


async def test_what_a_killed_process_of_this_system_held_for_a_long_time_is_free_at_once(crowd):
    await crowd.start("killed", ttl=60.0)
    await eventually(lambda: crowd.acts("killed", 0))
    await crowd.start("other", ttl=60.0)
    await crowd.kill("killed")
    await eventually(lambda: crowd.acts("other", 0))


@pytest.mark.fault(6, 7, 8)
async def test_never_may_two_act_whoever_is_frozen_killed_or_robbed(crowd, store):
    seed = random.randrange(1_000_000)
    dice = random.Random(seed)
    names = ["a", "b", "c"]
    for name in names:
        await crowd.start(name)
    await crowd.goes_on()
    for step in range(8):
        leader = crowd.passes()[-1].holder
        match dice.choice(["freeze", "freeze", "kill", "delete", "flicker"]):
            case "freeze":
                crowd.signal(leader, signal.SIGSTOP)
                await asyncio.sleep(dice.uniform(0.5, 2.0) * TTL)
                crowd.signal(leader, signal.SIGCONT)
            case "kill":
                await crowd.kill(leader)
                names[names.index(leader)] = f"{leader[0]}{step}"
                await crowd.start(f"{leader[0]}{step}")
            case "delete":
                await store.control.delete(LEASE_KEY)
            case "flicker":
                for name in names:
                    crowd.signal(name, signal.SIGSTOP)
                    await asyncio.sleep(dice.uniform(0.0, 0.3) * TTL)
                for name in dice.sample(names, 3):
                    crowd.signal(name, signal.SIGCONT)
        await crowd.goes_on()
    order = turns(crowd.passes())
    tokens = [token for token, _ in order]
    assert tokens == sorted(set(tokens)), f"seed {seed}: {json.dumps(order)}"
    assert len(tokens) > 1, f"seed {seed}: nothing happened"
