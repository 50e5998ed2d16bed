"""Where a pipeline may live: another machine starts no second one until that place is declared gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexthos_controller.executors.fake import FakeWorld
from nexthos_shared.model import ConditionType, PipelineStatus
from nexthos_shared.names import ABANDONED
from nexthos_shared.reasons import Reason
from nexthos_testing.field import Field
from nexthos_testing.house import Builder, condition
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually


@pytest.fixture
def here(nats_server: NatsServer, namespace: str, tmp_path: Path) -> Builder:
    return Builder(nats_server.url, namespace, tmp_path / "here", FakeWorld(("here",)))


@pytest.fixture
def there(nats_server: NatsServer, namespace: str, tmp_path: Path) -> Builder:
    """A controller of the same namespace on another machine."""
    return Builder(nats_server.url, namespace, tmp_path / "there", FakeWorld(("there",)))


async def is_lost(field: Field, key: str) -> PipelineStatus:
    async def told() -> PipelineStatus | None:
        status = await field.status(key)
        lost = status and condition(status, ConditionType.REACHABLE) == ("False", Reason.PLACE_LOST)
        return status if lost else None

    found = await eventually(told)
    assert isinstance(found, PipelineStatus)
    return found


@pytest.mark.fault(77)
async def test_what_lives_on_another_machine_is_unknown_until_it_is_declared_gone(
    here: Builder, there: Builder
) -> None:
    async with here.house() as house:
        await house.publish("orders")
        await house.publish("idle")
        await house.field.reaches("orders", "Running")
        await house.field.reaches("idle", "Running")
        await house.field.put("idle", "paused")
        await house.field.reaches("idle", "Paused")
    async with there.house() as house:
        status = await is_lost(house.field, "orders")
        assert status.phase == "Unknown"
        message = status.condition(ConditionType.REACHABLE)
        assert message is not None
        assert "nexthos abandon here" in message.message
        # Neither a new version, nor a pause, nor a deletion makes it known what runs there.
        await house.publish("orders", version="2")
        await house.field.put("orders", "paused", version="2")
        await house.field.put("orders", version="2")
        await is_lost(house.field, "idle")
        assert there.world.calls == []
        await (await house.field.js.key_value(house.field.names.control)).put(
            f"{ABANDONED}here", b"{}"
        )
        await house.field.reaches("orders", "Running")
        assert [e.place for e in there.world.running("orders")] == ["there"]
        await house.field.reaches("idle", "Paused")


@pytest.mark.fault(77)
async def test_a_deleted_pipeline_is_not_forgotten_before_its_place_confirms(
    here: Builder, there: Builder
) -> None:
    async with here.house() as house:
        await house.publish("orders")
        await house.field.reaches("orders", "Running")
    async with there.house() as house:
        await is_lost(house.field, "orders")
        await house.field.delete("orders")

        async def is_stopping() -> bool:
            return await house.field.phase("orders") == "Stopping"

        await eventually(is_stopping)
    async with here.house() as house:

        async def is_gone() -> bool:
            return await house.field.status("orders") is None

        await eventually(is_gone)
        assert here.world.things == {}


@pytest.mark.fault(77)
async def test_a_place_that_answers_again_is_not_gone_any_more(
    here: Builder, there: Builder
) -> None:
    async with here.house() as house:
        await house.publish("orders")
        await house.field.reaches("orders", "Running")
        control = await house.field.js.key_value(house.field.names.control)
        await control.put(f"{ABANDONED}here", b"{}")
    async with here.house(resync=1.0) as house:

        async def taken_back() -> bool:
            stored = await house.running.context.store.control.get(f"{ABANDONED}here")
            return stored is not None and stored.value is None

        await eventually(taken_back)
        assert here.world.count("start") == 1
