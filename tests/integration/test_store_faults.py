"""NATS goes, comes back, is full, or forgets who we are: what runs, runs on."""

from __future__ import annotations

import asyncio
import os
import signal
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.js.errors import APIError

from nexthos_shared.names import LEASE_KEY, Names
from nexthos_testing.cable import Cable
from nexthos_testing.controller import (
    ControllerProcess,
    controller_process,
    engine_processes,
    kill_leftovers,
)
from nexthos_testing.credentials import Operator
from nexthos_testing.field import Field, field_of
from nexthos_testing.guarded import controller_rights
from nexthos_testing.nats import NatsServer, free_port
from nexthos_testing.wait import eventually

SHORT = {"NEXTHOS_LEASE_TTL": "1s"}
NO_MORE = "controller acts no more; what runs is left running"
APART = "input: {generate: {interval: 1s, mapping: 'root = 1'}}\noutput: {drop: {}}\n"


@pytest.fixture
async def controller(
    fresh_nats: NatsServer, namespace: str, tmp_path: Path
) -> AsyncIterator[ControllerProcess]:
    """On a server that the test may end."""
    async with controller_process(
        fresh_nats.url, namespace, tmp_path / "state", **SHORT
    ) as running:
        yield running


@pytest.fixture
async def field(
    fresh_nats: NatsServer, namespace: str, controller: ControllerProcess
) -> AsyncIterator[Field]:
    async with field_of(fresh_nats.url, namespace) as user:
        yield user


def engine_of(controller: ControllerProcess, key: str) -> int:
    """PID of the one engine of that pipeline."""
    [pid] = [p for p, argv in engine_processes(controller.state_dir).items() if f"-{key}-" in argv]
    return pid


def said(controller: ControllerProcess, event: str, **more: Any) -> list[dict[str, Any]]:
    """Lines of the controller's log with that event and these fields."""
    return [
        line for line in controller.log() if line["event"] == event and more.items() <= line.items()
    ]


async def renewed(field: Field) -> None:
    """Wait for the next renewal of the lease."""
    control = await field.js.key_value(field.names.control)
    before = (await control.get(LEASE_KEY)).revision

    async def again() -> bool:
        return bool((await control.get(LEASE_KEY)).revision > before)

    await eventually(again)


async def both_run(field: Field) -> None:
    for key in ("healthy", "crashed"):
        await field.echo(key)
        await field.put(key)
        await field.reaches(key, "Running")


async def until_taken(call: Callable[[], Any]) -> None:
    """JetStream may need a moment after the server is back."""

    async def taken() -> bool:
        try:
            await call()
        except (nats.errors.Error, APIError):
            return False
        return True

    await eventually(taken)


@pytest.mark.parametrize(
    "kill",
    [
        pytest.param(False, id="restarted", marks=pytest.mark.fault(9)),
        pytest.param(True, id="killed", marks=pytest.mark.fault(10)),
    ],
)
async def test_over_a_restart_of_nats_executions_run_on_and_changes_are_seen_again(
    field: Field, controller: ControllerProcess, fresh_nats: NatsServer, kill: bool
) -> None:
    await field.echo("orders")
    await field.put("orders", replicas=2)
    await field.reaches("orders", "Running")
    before = engine_processes(controller.state_dir)
    await fresh_nats.restart(kill=kill)
    await until_taken(lambda: field.put("orders", replicas=1))
    # nats-py's own watch is blind for 10 to 20 s here; the deadline tells them apart
    status = await field.reaches("orders", "Running", within=8.0)
    await eventually(lambda: len(engine_processes(controller.state_dir)) == 1)
    assert engine_processes(controller.state_dir).items() < before.items()
    assert status.restarts == 0
    assert await field.says("orders") == "v1 hello"


def http(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5.0) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


@pytest.mark.fault(11)
async def test_started_before_nats_it_is_alive_and_not_ready_and_tries_again(
    namespace: str, tmp_path: Path
) -> None:
    server, port = NatsServer(tmp_path / "nats"), free_port()
    controller = ControllerProcess(server.url, namespace, tmp_path / "state")
    try:
        await controller.spawn(NEXTHOS_HTTP=f"127.0.0.1:{port}")
        await eventually(lambda: len(said(controller, "NATS can't be reached yet")) >= 3)
        assert await asyncio.to_thread(http, port, "/livez") == 200
        assert await asyncio.to_thread(http, port, "/readyz") == 503
        waits = [line["again_in"] for line in said(controller, "NATS can't be reached yet")]
        assert waits == sorted(set(waits))
        async with server:
            await eventually(lambda: is_ready(port), within=15.0)
            async with field_of(server.url, namespace) as field:
                await eventually(lambda: acts(field))
            assert await controller.terminate() == 0
    finally:
        if controller.running:
            await controller.kill()


async def is_ready(port: int) -> bool:
    return await asyncio.to_thread(http, port, "/readyz") == 200


async def acts(field: Field) -> bool:
    try:
        return bool((await field.request("status"))["acts"])
    except nats.errors.Error:
        return False


@pytest.mark.fault(12)
async def test_while_nats_is_away_nothing_healthy_is_stopped_and_what_crashed_waits(
    field: Field, controller: ControllerProcess, fresh_nats: NatsServer
) -> None:
    await both_run(field)
    healthy, crashed = engine_of(controller, "healthy"), engine_of(controller, "crashed")
    await fresh_nats.kill()
    await eventually(lambda: said(controller, "NATS is away"))
    os.kill(crashed, signal.SIGKILL)
    await eventually(lambda: said(controller, NO_MORE))
    assert list(engine_processes(controller.state_dir)) == [healthy]
    await fresh_nats.start()
    await field.restarted("crashed", 1)
    assert engine_of(controller, "healthy") == healthy
    assert (await field.reaches("healthy", "Running")).restarts == 0


@pytest.mark.fault(25)
async def test_cut_off_from_nats_the_controller_does_nothing_and_engines_work_on(
    nats_server: NatsServer, namespace: str, tmp_path: Path
) -> None:
    settings = tmp_path / "nexthos.yaml"
    settings.write_text(f"connections: {{direct: {{url: {nats_server.url}}}}}\n")
    async with (
        Cable(nats_server.port) as cable,
        controller_process(
            cable.url, namespace, tmp_path / "state", NEXTHOS_CONFIG=str(settings), **SHORT
        ) as controller,
        field_of(nats_server.url, namespace) as field,
    ):
        for key in ("healthy", "crashed"):
            await field.echo(key)
            await field.put(key, connection="direct")
            await field.reaches(key, "Running")
        healthy, crashed = engine_of(controller, "healthy"), engine_of(controller, "crashed")
        await cable.pull()
        os.kill(crashed, signal.SIGKILL)
        await eventually(lambda: said(controller, NO_MORE))
        await field.put("healthy", "paused")
        assert await field.says("healthy") == "v1 hello"
        assert list(engine_processes(controller.state_dir)) == [healthy]
        await cable.plug()
        await field.restarted("crashed", 1)
        await field.reaches("healthy", "Paused")


async def test_a_lease_is_renewed_however_long_the_answers_of_the_store_wait(
    nats_server: NatsServer, namespace: str, tmp_path: Path
) -> None:
    # as behind the snapshots of 50,000 pipelines: a controller lost its lease again and again there
    async with (
        Cable(nats_server.port) as cable,
        controller_process(cable.url, namespace, tmp_path / "state", **SHORT) as controller,
        field_of(nats_server.url, namespace) as field,
    ):
        cable.clog(f"{namespace} controller")
        await field.echo("healthy")
        await field.put("healthy")
        for _ in range(12):  # several times as long as it is granted for
            await renewed(field)
        cable.clear()
        await field.reaches("healthy", "Running")
        assert await field.says("healthy") == "v1 hello"
        assert not said(controller, NO_MORE)


async def fill(js: Any) -> None:
    while True:
        await js.publish("filler", b"x" * 1_000_000)


@pytest.mark.fault(22)
async def test_while_the_storage_of_nats_is_full_work_goes_on_and_heals_when_there_is_room(
    namespace: str, tmp_path: Path
) -> None:
    # 64 MB of it are set aside for the stream of events
    async with (
        NatsServer(tmp_path / "nats", jetstream="max_file_store: 68MB") as server,
        controller_process(server.url, namespace, tmp_path / "state", **SHORT) as controller,
        field_of(server.url, namespace) as field,
    ):
        await both_run(field)
        healthy, crashed = engine_of(controller, "healthy"), engine_of(controller, "crashed")
        await field.js.add_stream(name="filler", subjects=["filler"])
        with pytest.raises(APIError, match=r"insufficient|exceeded|resource"):
            await fill(field.js)
        os.kill(crashed, signal.SIGKILL)
        failed = {"pipeline": "crashed", "reason": "StoreUnavailable"}
        await eventually(lambda: said(controller, "reconcile failed", **failed))
        assert (
            "insufficient resources" in said(controller, "reconcile failed", **failed)[0]["error"]
        )
        await eventually(lambda: said(controller, NO_MORE))  # nor can the lease be renewed
        await eventually(lambda: said(controller, "waiting for the lease"))
        assert "insufficient resources" in said(controller, "waiting for the lease")[-1]["because"]
        assert await field.says("healthy") == "v1 hello"
        assert list(engine_processes(controller.state_dir)) == [healthy]
        await field.js.delete_stream("filler")
        await field.restarted("crashed", 1)
        assert engine_of(controller, "healthy") == healthy


@pytest.mark.fault(24)
async def test_over_rotated_credentials_it_connects_again_and_executions_are_not_concerned(
    namespace: str, tmp_path: Path
) -> None:
    operator, mine, theirs = Operator(), tmp_path / "mine.creds", tmp_path / "theirs.creds"
    operator.user(mine)
    few = controller_rights(namespace)
    old = operator.user(theirs, few.publish, few.subscribe)
    async with NatsServer(tmp_path / "nats", config=operator.config) as server:
        controller = ControllerProcess(server.url, namespace, tmp_path / "state")
        nc = await nats.connect(server.url, user_credentials=str(mine))
        try:
            field = Field(nc, Names(namespace))
            await controller.spawn(NATS_CREDS=str(theirs))
            await eventually(lambda: acts(field), within=20.0)
            await field.config("orders", APART)
            await field.put("orders")
            await field.reaches("orders", "Running")
            before = engine_processes(controller.state_dir)
            operator.user(theirs, few.publish, few.subscribe)
            operator.revoke(old)
            server.config = operator.config
            server.reload()
            await eventually(lambda: said(controller, "NATS is back"), within=15.0)
            await field.put("orders", name="seen by the new one")
            status = await field.reaches("orders", "Running")
            assert status.restarts == 0
            assert engine_processes(controller.state_dir) == before
            assert await controller.terminate() == 0
            assert not said(controller, "NATS refuses a subject")
        finally:
            await nc.close()
            if controller.running:
                await controller.kill()
            kill_leftovers(controller.state_dir)
