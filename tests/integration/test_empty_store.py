"""A store that came back empty: what runs stays ours, and nothing runs twice, as messages tell."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nexthos_shared.reasons import Reason
from nexthos_testing.controller import ControllerProcess, controller_process, engine_processes
from nexthos_testing.field import Field, field_of
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually

QUICK = {"NEXTHOS_LEASE_TTL": "1s", "NEXTHOS_RESYNC": "1s"}


@pytest.fixture
async def controller(
    fresh_nats: NatsServer, namespace: str, tmp_path: Path, executor: str
) -> AsyncIterator[ControllerProcess]:
    async with controller_process(
        fresh_nats.url, namespace, tmp_path / "state", **QUICK, NEXTHOS_EXECUTOR=executor
    ) as running:
        yield running


@pytest.fixture
async def field(
    fresh_nats: NatsServer, namespace: str, controller: ControllerProcess
) -> AsyncIterator[Field]:
    async with field_of(fresh_nats.url, namespace) as user:
        yield user


async def wipe(server: NatsServer) -> None:
    """NATS on an emptyDir, moved."""
    await server.kill()
    shutil.rmtree(server.folder / "data")
    await server.start()


async def apply(field: Field, key: str) -> None:
    # Without a queue group: each engine that listens answers.
    text = field.echo_text(key).replace("    queue: q\n", "")
    await field.config(key, text)
    await field.put(key)


async def answers(field: Field, key: str) -> int:
    """How many engines answer one message: as many as run."""
    await field.says(key)  # its engine has found NATS again
    replies = await field.nc.subscribe(field.outlet(key))
    try:
        found = 0
        for word in (b"once", *(b"later %d" % n for n in range(5))):
            await field.nc.publish(field.inlet(key), word)
            answer = b""
            while not answer.endswith(word):
                answer = (await replies.next_msg(timeout=10.0)).data
                found += answer.endswith(b"once")
        return found
    finally:
        await replies.unsubscribe()


def pids(controller: ControllerProcess) -> set[int]:
    return set(engine_processes(controller.state_dir))


async def acts_on_a_store(field: Field) -> bool:
    try:
        await field.pipelines()
        return bool((await field.request("status"))["acts"])
    except Exception:
        return False


async def installation(field: Field) -> str:
    return str((await field.request("status"))["installation"])


@pytest.mark.fault(124)
@pytest.mark.parametrize("executor", ["process", "streams"])
async def test_a_store_that_came_back_empty_keeps_its_id_and_nothing_runs_twice(
    controller, field, fresh_nats
):
    for key in ("a", "b"):
        await apply(field, key)
        await field.reaches(key, "Running")
    before, known = pids(controller), await installation(field)
    await wipe(fresh_nats)
    await eventually(lambda: acts_on_a_store(field), within=30.0)
    for key in ("a", "b"):
        await field.complains(key, Reason.ORPHANED, within=20.0)
    assert await installation(field) == known
    await apply(field, "a")
    await field.reaches("a", "Running")
    assert pids(controller) == before
    assert await answers(field, "a") == 1
    assert await answers(field, "b") == 1
    names = field.names
    for stream in (f"KV_{names.pipelines}", f"OBJ_{names.configs}", f"KV_{names.control}"):
        info = await field.js.stream_info(stream)
        assert info.config.metadata["nexthos.installation"] == known


async def told_of(field: Field, known: str) -> bool:
    try:
        problems = (await field.request("status"))["problems"]
    except Exception:
        return False
    return any(
        p["reason"] == Reason.OTHER_INSTALLATION
        and f"nexthos setup --installation {known}" in p["message"]
        for p in problems
    )


async def setup(field: Field, *args: str) -> tuple[int, str]:
    """`nexthos setup`, as an operator types it."""
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).parent / "nexthos",
        *("-s", field.nc.servers[0].geturl(), "-n", field.names.namespace, "setup", *args),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


@pytest.mark.fault(125)
@pytest.mark.parametrize("executor", ["process", "streams"])
async def test_a_controller_that_starts_on_an_empty_store_names_what_runs_and_takes_it_over_on_purpose(
    controller, field, fresh_nats
):
    await apply(field, "a")
    await field.reaches("a", "Running")
    before, known = pids(controller), await installation(field)
    await controller.kill()
    await wipe(fresh_nats)
    await controller.start()
    assert await installation(field) != known
    await eventually(lambda: told_of(field, known))
    assert (await field.request("status"))["pipelines"] == 0
    assert pids(controller) == before
    code, words = await setup(field, "--installation", known)
    assert code == 0, words

    async def is_ours() -> bool:
        return await acts_on_a_store(field) and await installation(field) == known

    await eventually(is_ours, within=20.0)
    await field.complains("a", Reason.ORPHANED, within=20.0)
    assert not await told_of(field, known)
    await apply(field, "a")
    await field.reaches("a", "Running")
    assert pids(controller) == before
    assert await answers(field, "a") == 1


@pytest.mark.fault(125)
@pytest.mark.parametrize("executor", ["process"])
async def test_a_store_with_entries_is_not_taken_over(controller, field):
    await apply(field, "a")
    known = await installation(field)
    code, words = await setup(field, "--installation", "0123456789ab")
    assert code == 1
    assert "has 1 entries" in words
    assert await installation(field) == known
    assert (await setup(field, "--installation", known))[0] == 0
    assert (await setup(field, "--installation", "../../x"))[0] == 2


@pytest.mark.fault(124)
@pytest.mark.parametrize("executor", ["process"])
async def test_a_store_that_somebody_else_made_anew_has_nothing_started_beside_what_runs(
    controller, field, fresh_nats
):
    await apply(field, "a")
    await field.reaches("a", "Running")
    before, known = pids(controller), await installation(field)
    controller.process.send_signal(signal.SIGSTOP)
    await wipe(fresh_nats)
    assert (await setup(field))[0] == 0
    await apply(field, "a")
    controller.process.send_signal(signal.SIGCONT)

    async def is_told() -> bool:
        try:
            problems = (await field.request("status"))["problems"]
        except Exception:
            return False
        return any(f"setup --installation {known}" in p["message"] for p in problems)

    await eventually(is_told, within=20.0)
    assert pids(controller) == before
    assert await answers(field, "a") == 1
    assert (await setup(field, "--installation", known))[0] == 0
    await field.reaches("a", "Running")
    assert pids(controller) == before
    assert await answers(field, "a") == 1


@pytest.mark.fault(124)
@pytest.mark.parametrize("executor", ["process"])
async def test_a_standby_makes_the_store_again_as_what_it_was(
    controller, field, fresh_nats, namespace
):
    other = ControllerProcess(
        fresh_nats.url, namespace, controller.state_dir, controller.environ, name="-b"
    )
    await apply(field, "a")
    await field.reaches("a", "Running")
    before, known = pids(controller), await installation(field)
    try:
        await other.spawn()
        await eventually(lambda: any(e["event"] == "waiting for the lease" for e in other.log()))
        await controller.kill()
        await wipe(fresh_nats)
        await eventually(lambda: acts_on_a_store(field), within=30.0)
        assert await installation(field) == known
        await apply(field, "a")
        await field.reaches("a", "Running")
        assert pids(controller) == before
    finally:
        if other.running:
            await other.kill()
