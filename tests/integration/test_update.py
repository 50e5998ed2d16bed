"""Updates that fail and go back, and what a change of the controller's own does to what runs."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nexthos_shared.engine import locate_engine
from nexthos_shared.model import Condition, ConditionType, Event, PipelineStatus
from nexthos_shared.reasons import Reason
from nexthos_testing.controller import ControllerProcess, engine_processes, kill_leftovers
from nexthos_testing.field import Field, field_of
from nexthos_testing.nats import NatsServer, free_port
from nexthos_testing.wait import eventually

UPDATE = {"ready_timeout": "2s"}
NOWHERE = "nats://127.0.0.1:1"


@pytest.fixture
async def controller(
    nats_server: NatsServer, namespace: str, tmp_path: Path
) -> AsyncIterator[ControllerProcess]:
    """For this one three seconds of being ready are good: a broker is greeted every other second."""
    controller = ControllerProcess(
        nats_server.url,
        namespace,
        tmp_path / "state",
        {"NEXTHOS_READY_DEBOUNCE": "3s", "NEXTHOS_LEASE_TTL": "1s"},
    )
    await controller.start()
    try:
        yield controller
    finally:
        if controller.running:
            await controller.terminate()
        kill_leftovers(controller.state_dir)


@asynccontextmanager
async def second_server(folder: Path) -> AsyncIterator[NatsServer]:
    """The broker that a pipeline talks to, where it is not the one that holds the store."""
    async with NatsServer(folder, port=free_port()) as server:
        yield server


async def told(field: Field, key: str, kind: ConditionType, reason: Reason) -> PipelineStatus:
    """Wait until a condition has that reason."""

    async def there() -> PipelineStatus | None:
        status = await field.status(key)
        condition = status.condition(kind) if status else None
        return status if condition and condition.reason is reason else None

    found = await eventually(there, within=30.0)
    assert isinstance(found, PipelineStatus)
    return found


async def is_good(field: Field, key: str) -> None:
    """Wait until what runs is what an update would go back to."""

    async def remembered() -> bool:
        status = await field.status(key)
        memory = status.memory if status else None
        good = memory.good if memory else None
        return bool(memory and memory.current and good and good == memory.current)

    await eventually(remembered, within=20.0)


def condition(status: PipelineStatus, kind: ConditionType) -> Condition:
    found = status.condition(kind)
    assert found is not None
    return found


@pytest.mark.fault(72, 73)
async def test_an_update_of_env_alone_that_is_never_ready_brings_the_whole_definition_back(
    field: Field, controller: ControllerProcess
) -> None:
    await field.echo("orders")
    await field.put("orders", env={"MARK": "a"}, labels={"team": "a"}, update=UPDATE)
    assert await field.says("orders") == "v1 hello"
    await is_good(field, "orders")
    wrong = {"NATS_URL": NOWHERE}
    await field.put("orders", env=wrong, labels={"team": "b"}, update=UPDATE)
    status = await told(field, "orders", ConditionType.PROGRESSING, Reason.ROLLED_BACK)
    assert await field.says("orders") == "v1 hello"
    status = await field.reaches("orders", "Running")
    words = condition(status, ConditionType.PROGRESSING).message
    assert "revision" in words
    assert "runs again" in words
    assert condition(status, ConditionType.VALID).status == "True"
    current = status.memory.current
    assert current is not None
    assert (current.definition.env, current.definition.labels) == ({"MARK": "a"}, {"team": "a"})

    async def story_ended() -> list[Event]:
        found = await field.events_with("orders", Reason.ROLLED_BACK)
        return found if found[-1].data.reason is Reason.READY else []

    events: list[Event] = await eventually(story_ended)
    assert Reason.ROLLED_BACK in [event.data.reason for event in events][2:]
    [story] = [e.data.message for e in events if e.data.reason is Reason.ROLLED_BACK]
    assert story == words

    before = engine_processes(controller.state_dir)
    await controller.kill()
    await controller.start()
    await field.put("orders", env=wrong, labels={"team": "b"}, update=UPDATE)  # once more
    status = await told(field, "orders", ConditionType.PROGRESSING, Reason.ROLLED_BACK)
    assert engine_processes(controller.state_dir) == before
    await field.put("orders", env=wrong, update=UPDATE, restart_nonce=1)
    await eventually(lambda: engine_processes(controller.state_dir).keys() != before.keys())


@pytest.mark.fault(76)
async def test_while_the_broker_is_away_no_update_is_rolled_back(
    field: Field, controller: ControllerProcess, tmp_path: Path
) -> None:
    async with (
        second_server(tmp_path / "broker") as broker,
        field_of(broker.url, controller.namespace) as there,
    ):
        env = {"NATS_URL": broker.url}
        await field.echo("orders")
        await field.put("orders", env=env, update=UPDATE)
        assert await there.says("orders") == "v1 hello"
        await is_good(field, "orders")
        await broker.kill()
        await told(field, "orders", ConditionType.READY, Reason.NOT_CONNECTED)
        await field.put("orders", env=env | {"MARK": "b"}, update=UPDATE)
        status = await told(field, "orders", ConditionType.PROGRESSING, Reason.READY_TIMEOUT)
        current = status.memory.current
        assert current is not None
        assert current.definition.env["MARK"] == "b"
        assert status.restarts == 0
        await broker.start()
        assert await there.says("orders") == "v1 hello"
        status = await field.reaches("orders", "Running")
        assert status.version == "1"


@pytest.mark.fault(71)
async def test_another_engine_restarts_nothing_and_is_told(
    field: Field, controller: ControllerProcess, tmp_path: Path
) -> None:
    await field.echo("orders")
    await field.put("orders")
    await field.reaches("orders", "Running")
    before = engine_processes(controller.state_dir)
    await controller.terminate()
    other = tmp_path / "another-engine"
    await asyncio.to_thread(shutil.copy2, locate_engine(), other)
    await controller.start(NEXTHOS_ENGINE=str(other))
    status = await told(field, "orders", ConditionType.OUTDATED, Reason.OUTDATED)
    assert str(other) in condition(status, ConditionType.OUTDATED).message
    assert engine_processes(controller.state_dir) == before
    await field.put("orders", restart_nonce=1)
    await eventually(
        lambda: any(str(other) in argv for argv in engine_processes(controller.state_dir).values())
    )
    status = await field.reaches("orders", "Running")
    assert status.condition(ConditionType.OUTDATED) is None
