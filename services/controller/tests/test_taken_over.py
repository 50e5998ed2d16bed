"""What one controller left at rest, as the next one finds it."""

from __future__ import annotations

import json

import pytest

from nexthos_shared.reasons import Reason
from nexthos_testing.field import field_of
from nexthos_testing.house import Builder, House
from nexthos_testing.wait import eventually

KEYS = {"runs", "paused", "draft"}


async def left_at_rest(house: House) -> None:
    """One that runs, one that is paused, one that is a draft."""
    for key in KEYS:
        await house.publish(key)
        await house.field.reaches(key, "Running")
    for key, phase in (("paused", "Paused"), ("draft", "Draft")):
        await house.field.put(key, status=key, version="1")
        await house.field.reaches(key, phase)


@pytest.mark.fault(82)
async def test_a_status_that_was_edited_while_no_controller_led_is_put_right(builder: Builder):
    async with builder.house(debounce=0.1) as house:
        await left_at_rest(house)
    async with field_of(builder.url, builder.namespace) as user:
        bucket = await user.js.key_value(user.names.status)
        value = json.loads((await bucket.get("runs")).value or b"")
        await bucket.put("runs", json.dumps({**value, "phase": "Paused"}).encode())
    async with builder.house(debounce=0.1) as house:
        await house.field.reaches("runs", "Running")


async def test_what_changed_meanwhile_is_acted_on(builder: Builder):
    async with builder.house(debounce=0.1) as house:
        await left_at_rest(house)
        name = house.name("runs")
    builder.world.vanish(name)
    async with field_of(builder.url, builder.namespace) as user:
        await user.put("paused", version="1")
    async with builder.house(debounce=0.1) as house:
        await house.field.reaches("paused", "Running")
        await house.field.restarted("runs", 1)


@pytest.mark.fault(42)
async def test_an_engine_that_hangs_is_noticed_of_what_was_at_rest(builder: Builder):
    """A process that is stopped in the middle answers no more: whether it is ready is not known."""
    async with builder.house(debounce=0.1) as house:
        await left_at_rest(house)
        builder.world.set_ready(house.name("runs"), None)
        await house.field.complains("runs", Reason.STARTING)


async def left_and_not_known_to_be_ready(builder: Builder) -> str:
    """As the next controller finds an engine before it answers; returns the execution's name."""
    async with builder.house(debounce=0.1) as house:
        await left_at_rest(house)
        name = house.name("runs")
    builder.world.set_ready(name, None)
    return name


@pytest.mark.fault(42)
async def test_what_was_adopted_and_never_says_whether_it_is_ready_is_told(builder: Builder):
    await left_and_not_known_to_be_ready(builder)
    async with builder.house(debounce=0.1) as house:
        await house.field.complains("runs", Reason.STARTING)


async def test_what_is_found_as_it_was_left_is_not_written_about(
    builder: Builder,
):
    async with builder.house(debounce=0.1) as house:
        await left_at_rest(house)

        async def is_good() -> bool:
            status = await house.field.status("runs")
            return status is not None and status.memory.last_good is not None

        await eventually(is_good)
        before = {key: await house.field.status(key) for key in KEYS}
    async with builder.house(debounce=0.1) as house:
        controller = (await house.running.leading()).controller
        for key in KEYS:
            await controller.queue.look(key)
        assert {key: await house.field.status(key) for key in KEYS} == before
