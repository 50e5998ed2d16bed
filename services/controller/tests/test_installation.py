"""Which store it is: a key that is overwritten by hand never has pipelines started a second time."""

from __future__ import annotations

import json
from functools import partial

import pytest
from nats.errors import NoRespondersError

from nexthos_shared.names import INSTALLATION_KEY
from nexthos_shared.reasons import Reason
from nexthos_testing.hostile import raw_nats
from nexthos_testing.wait import eventually

FORGED = [b"0123456789ab", b"\xff\xfe", b"", b"../../../x", b"ABCDEF012345", b"x" * 100_000]


def key(builder) -> bytes:
    return f"$KV.{builder.namespace}-control.{INSTALLATION_KEY}".encode()


async def forge(builder, value: bytes, head: bytes | None = None) -> None:
    async with raw_nats(builder.url) as raw:
        await raw.publish(key(builder), value, head=head)


async def halted(house) -> bool:
    return [p.reason for p in house.running.context.halted] == [Reason.INSTALLATION_DIFFERS]


async def acts(house) -> bool:
    return house.running.term is not None


async def tells(house) -> bool:
    try:
        reply = await house.field.request("status")
    except NoRespondersError:
        return False
    return Reason.INSTALLATION_DIFFERS in [p["reason"] for p in reply["problems"]]


def started(house) -> int:
    return sum(1 for thing in house.world.things.values() if thing.execution.state == "running")


@pytest.mark.fault(101)
@pytest.mark.parametrize("value", FORGED, ids=range(len(FORGED)))
async def test_an_id_that_was_forged_between_two_terms_stops_acting_and_is_told(builder, value):
    async with builder.house() as house:
        await house.publish("orders")
        await house.field.reaches("orders", "Running")
        installation = (await house.field.request("status"))["installation"]
    await forge(builder, value)
    async with builder.house(leads=False) as house:
        await eventually(partial(halted, house))
        assert not await acts(house)
        assert not house.running.context.is_ready
        assert installation in house.running.context.why_not_ready
        await eventually(partial(tells, house))  # as a standby, which it is until then
        control = await house.field.js.key_value(house.field.names.control)
        await control.delete(INSTALLATION_KEY)  # what it says is the next step
        await house.running.leading()
        await house.running.context.link.nc.flush()  # its subscriptions have reached the server
        assert (await house.field.request("status"))["installation"] == installation
        await house.publish("more")
        await house.field.reaches("more", "Running")
        assert started(house) == 2
        assert (await control.get(INSTALLATION_KEY)).value == installation.encode()


@pytest.mark.fault(101)
async def test_an_id_that_is_forged_while_a_controller_acts_ends_its_term_and_nothing_comes_twice(
    house, builder
):
    await house.publish("orders")
    await house.field.reaches("orders", "Running")
    right = (await house.field.request("status"))["installation"].encode()
    await forge(builder, b"0123456789ab")
    await eventually(partial(halted, house))
    assert started(house) == 1
    await forge(builder, right)
    await house.running.leading()
    await house.running.context.link.nc.flush()
    await house.field.request("reconcile", id="orders")
    assert started(house) == 1
    assert not house.running.context.halted


@pytest.mark.fault(101)
async def test_an_id_that_is_deleted_while_a_controller_acts_is_written_again(house, builder):
    right = (await house.field.request("status"))["installation"].encode()
    control = await house.field.js.key_value(house.field.names.control)
    await control.delete(INSTALLATION_KEY)

    async def is_back() -> bool:
        stored = await house.running.context.store.control.get(INSTALLATION_KEY)
        return stored is not None and stored.value == right

    await eventually(is_back)
    assert await acts(house)


async def test_every_bucket_says_which_installation_it_belongs_to(house):
    right = (await house.field.request("status"))["installation"]
    names = house.field.names
    streams = [f"KV_{b}" for b in (names.pipelines, names.status, names.control)]
    for stream in [*streams, f"OBJ_{names.configs}"]:
        info = await house.field.js.stream_info(stream)
        assert info.config.metadata["nexthos.installation"] == right, json.dumps(stream)
