"""Many pipelines in few engines, seen from outside: what each one's messages do when an engine dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from nexthos_shared.reasons import Reason
from nexthos_testing.controller import CONTROLLER, ControllerProcess, controller_process
from nexthos_testing.field import Field, field_of
from nexthos_testing.nats import NatsServer
from nexthos_testing.streams_rig import ask_host
from nexthos_testing.wait import eventually

NEXTHOS = CONTROLLER.parent / "nexthos"
KEYS = [f"p{n}" for n in range(60)]
CAP = 20
PANIC = """\
input: {generate: {interval: 500ms, mapping: 'root = "hi"'}}
pipeline: {processors: [{mapping: 'root = "x".repeat(9223372036854775807)'}]}
output: {drop: {}}
"""
GREEDY = """\
input: {generate: {interval: 100ms, mapping: 'root = "x".repeat(20000000)'}}
buffer: {memory: {limit: 100000000000}}
pipeline: {processors: [{sleep: {duration: 1h}}]}
output: {drop: {}}
"""
MOST = 500_000_000  # bytes of memory; with 20 that are not greedy a host takes 90
KILLS_OF_AN_INNOCENT = 3  # suspicion.py
EVERY = 0.05  # seconds between two messages to a pipeline


@pytest.fixture
async def controller(
    nats_server: NatsServer, namespace: str, tmp_path: Path
) -> AsyncIterator[ControllerProcess]:
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"executor: streams\nexecutors: {{streams: {{cap: {CAP}}}}}\n")
    started = controller_process(
        nats_server.url, namespace, tmp_path / "state", NEXTHOS_CONFIG=str(settings)
    )
    async with started as controller:
        yield controller


@pytest.fixture
async def field_(controller: ControllerProcess) -> AsyncIterator[Field]:
    """A user whose 60 pipelines run."""
    async with field_of(controller.url, controller.namespace) as user:
        for key in KEYS:
            await user.echo(key)
            await user.put(key)
        for key in KEYS:
            await user.reaches(key, "Running", within=60.0)
        yield user


@dataclass
class Traffic:
    """Numbered messages to each pipeline, and which numbers came out of it."""

    sent: int = 0
    came: dict[str, list[int]] = field(default_factory=lambda: {key: [] for key in KEYS})

    def all_pass(self, keys: set[str], since: int) -> bool:
        """Whether each of them passed a message that was sent after that many."""
        return all(self.came[key] and self.came[key][-1] >= since for key in keys)

    def lost(self, keys: set[str], since: int) -> dict[str, list[int]]:
        """Which numbers from `since` up to the last that came are missing, by pipeline."""
        missing = {k: sorted(set(range(since, self.came[k][-1])) - set(self.came[k])) for k in keys}
        return {key: numbers for key, numbers in missing.items() if numbers}


@asynccontextmanager
async def traffic(user: Field) -> AsyncIterator[Traffic]:
    """A message to every pipeline again and again."""
    seen = Traffic()

    async def note(message: Any) -> None:
        number = int(message.data.decode().rpartition(" ")[2])
        seen.came[message.subject.rpartition(".")[2]].append(number)

    async def send() -> None:
        while True:
            for key in KEYS:
                await user.nc.publish(user.inlet(key), str(seen.sent).encode())
            seen.sent += 1
            await asyncio.sleep(EVERY)

    subscription = await user.nc.subscribe(user.outlet("*"), cb=note)
    sending = asyncio.create_task(send())
    try:
        yield seen
    finally:
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending
        await subscription.unsubscribe()


def homes(controller: ControllerProcess) -> dict[int, set[str]]:
    """What each host that runs has, as it says itself: pipelines by the PID that leads it."""
    found: dict[int, set[str]] = {}
    for file in (controller.state_dir / "hosts").glob("*/host.json"):
        with contextlib.suppress(FileNotFoundError):
            host = json.loads(file.read_bytes())
            names = ask_host(host, "/streams")
            if names is not None:
                found[host["pid"]] = {name.split("-")[-3] for name in names}
    return found


async def with_room_for_one(user: Field) -> set[str]:
    """A place among 19 others, which a new pipeline gets; returns those that run still."""
    await user.delete(KEYS[0])

    async def is_gone() -> bool:
        return await user.status(KEYS[0]) is None

    await eventually(is_gone)
    return set(KEYS[1:])


async def uids(user: Field, keys: Iterable[str] = KEYS) -> dict[str, tuple[str, int]]:
    """Each one's uid, and how many of its ends were counted."""
    found = {}
    for key in keys:
        status = await user.reaches(key, "Running", within=60.0)
        found[key] = (status.executions[0].uid, status.restarts)
    return found


@pytest.mark.fault(69)
@pytest.mark.timeout(120)
async def test_a_killed_host_brings_its_own_back_and_the_others_lose_no_message(controller, field_):
    async with traffic(field_) as seen:
        await eventually(lambda: seen.all_pass(set(KEYS), 1), within=30.0)
        before = homes(controller)
        assert sorted(map(len, before.values())) == [CAP, CAP, CAP]
        began = seen.sent
        victim, hit = next(iter(before.items()))
        others = set(KEYS) - hit
        os.killpg(victim, signal.SIGKILL)
        killed = seen.sent
        await eventually(lambda: seen.all_pass(hit, killed + 1), within=30.0)
        again = seen.sent
        await eventually(lambda: seen.all_pass(set(KEYS), again), within=30.0)
        assert seen.lost(others, began) == {}
    after = homes(controller)
    assert {pid: before[pid] for pid in before if pid != victim}.items() <= after.items()
    assert len(after) == len(before) + 1  # its streams are in two halves
    assert {count for _, count in (await uids(field_)).values()} == {0}


@pytest.mark.fault(2)
@pytest.mark.timeout(120)
async def test_a_controller_that_is_killed_and_comes_back_costs_no_message(controller, field_):
    before = await uids(field_), homes(controller)
    async with traffic(field_) as seen:
        await eventually(lambda: seen.all_pass(set(KEYS), 1), within=30.0)
        began = seen.sent
        await controller.kill()
        await controller.start()
        acts = seen.sent
        await eventually(lambda: seen.all_pass(set(KEYS), acts), within=30.0)
        assert seen.lost(set(KEYS), began) == {}
    assert (await uids(field_), homes(controller)) == before


async def crash_loops_alone(user: Field, key: str, seen: Traffic, others: set[str]) -> str:
    """Wait for that, and for the others, which lose no message meanwhile; returns the complaint."""
    began = seen.sent
    await eventually(lambda: seen.all_pass(others, began), within=30.0)
    calm = seen.sent
    status = await user.reaches(key, "CrashLoop", within=120.0)
    ended = seen.sent
    await eventually(lambda: seen.all_pass(others, ended), within=30.0)
    assert seen.lost(others, calm) == {}
    assert status.complaint is not None
    return status.complaint.message


@pytest.mark.fault(36, 69)
@pytest.mark.timeout(180)
async def test_one_that_crashes_its_host_ends_alone_and_then_costs_the_others_no_message(
    controller, field_
):
    others = await with_room_for_one(field_)
    before = await uids(field_, others)
    async with traffic(field_) as seen:
        await field_.config("bad", PANIC)
        await field_.put("bad")

        async def crashed_alone() -> bool:
            status = await field_.status("bad")
            return status is not None and status.restarts > 0

        await eventually(crashed_alone, within=60.0)
        message = await crash_loops_alone(field_, "bad", seen, others)
    assert "panic: runtime error" in message
    after = await uids(field_, others)
    assert sum(before[key] != after[key] for key in others) == CAP - 1  # they shared its first host
    assert {count for _, count in after.values()} == {0}


@asynccontextmanager
async def scarce_memory(controller: ControllerProcess) -> AsyncIterator[list[set[str]]]:
    """A machine on which a host that takes more than MOST is killed, as the kernel would.

    What is yielded fills with what each of them had.
    """
    killed: list[set[str]] = []

    async def watch() -> None:
        while True:
            for leader, there in homes(controller).items():
                if resident(leader) > MOST:
                    killed.append(there)
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(leader, signal.SIGKILL)
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    try:
        yield killed
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


def resident(leader: int) -> int:
    """Bytes of memory that a process group takes."""
    pages = 0
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((process / "stat").read_text().rpartition(")")[2].split()[2]) == leader:
                pages += int((process / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.fault(36, 69)
@pytest.mark.timeout(240)
async def test_one_that_exhausts_the_memory_of_its_host_ends_alone_and_then_costs_the_others_nothing(
    controller, field_
):
    others = await with_room_for_one(field_)
    async with traffic(field_) as seen, scarce_memory(controller) as killed:
        await field_.config("greedy", GREEDY)
        await field_.put("greedy")
        await eventually(lambda: {"greedy"} in killed, within=60.0)
        message = await crash_loops_alone(field_, "greedy", seen, others)
    assert "for want of memory" in message
    assert len(killed[0]) == CAP
    assert all("greedy" in there for there in killed)
    hit = Counter(key for there in killed for key in there - {"greedy"})
    assert max(hit.values()) <= KILLS_OF_AN_INNOCENT
    assert {count for _, count in (await uids(field_, others)).values()} == {0}


SHARED = "cache_resources: [{label: c, memory: {}}]\n"
NOT_ITS_OWN = "reads the shared engine's environment, not this pipeline's: write ${NATS_URL}"


async def apply(controller: ControllerProcess, file: Path) -> tuple[int, str]:
    """`nexthos apply --wait`: its exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        *(NEXTHOS, "-s", controller.url, "-n", controller.namespace, "apply", "--wait"),
        *("--timeout", "20s", file),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def test_an_update_that_can_not_share_an_engine_is_refused_and_the_old_one_goes_on(
    controller: ControllerProcess, tmp_path: Path
) -> None:
    async with field_of(controller.url, controller.namespace) as user:
        file = tmp_path / "orders.yaml"
        file.write_text(user.echo_text("orders"))
        assert await apply(controller, file) == (0, ANY)
        life = (await uids(user, ["orders"]))["orders"]
        reads = user.echo_text("orders", "v2").replace("content()", 'env("NATS_URL") + content()')
        file.write_text(reads)
        code, said = await apply(controller, file)
        assert code == 1
        assert NOT_ITS_OWN in said
        status = await user.complains("orders", Reason.CANNOT_RUN_HERE)
        assert status.complaint is not None
        assert (status.complaint.type, status.complaint.status) == ("Valid", "False")
        assert status.complaint.line == 1 + reads[: reads.index("env(")].count("\n")
        assert await user.says("orders") == "v1 hello"
        assert (await uids(user, ["orders"]))["orders"] == life
        file.write_text(user.echo_text("orders", "v3"))
        assert await apply(controller, file) == (0, ANY)
        assert await user.says("orders") == "v3 hello"


async def test_what_can_not_share_an_engine_is_invalid_at_first_and_leaves_nothing(
    controller: ControllerProcess, tmp_path: Path
) -> None:
    async with field_of(controller.url, controller.namespace) as user:
        file = tmp_path / "orders.yaml"
        file.write_text(user.echo_text("orders") + SHARED)
        code, said = await apply(controller, file)
        assert code == 1
        assert "cache_resources: resources are shared by all streams of an engine" in said
        await user.reaches("orders", "Invalid")
    assert list((controller.state_dir / "streams").iterdir()) == []
    assert homes(controller) == {}
