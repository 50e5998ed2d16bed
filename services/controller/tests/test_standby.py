"""What a controller that does not act says, and when it does not begin to act."""

from __future__ import annotations

from typing import Any

import pytest
from nats.errors import NoRespondersError

from nexthos_controller.executors.fake import FakeWorld
from nexthos_shared.names import Names
from nexthos_testing.field import Field, field_of
from nexthos_testing.house import Builder
from nexthos_testing.wait import eventually


async def asked_of(field: Field, acts: bool, endpoint: str = "status", **body: object) -> Any:
    """Answers are shared out among the controllers: ask until the one that is meant has one."""

    async def answer() -> Any:
        try:
            reply = await field.request(endpoint, **body)
        except NoRespondersError:
            return None
        return reply if ("as_of" not in reply) is acts else None

    return await eventually(answer)


@pytest.mark.fault(6)
async def test_a_standby_answers_from_the_store_and_says_who_acts(builder: Builder) -> None:
    other = Builder(builder.url, builder.namespace, builder.state_dir, FakeWorld())
    async with builder.house() as first, other.house(leads=False) as second:
        await first.publish("orders")
        await first.field.reaches("orders", "Running")
        user = first.field
        itself = await asked_of(user, False)
        assert itself["acts"] is False
        assert itself["controller"] == second.running.context.identity.controller
        assert itself["leader"]["controller"] == first.running.context.identity.controller
        assert itself["phases"] == {"Running": 1}
        leader = await asked_of(user, True)
        assert leader["acts"] is True
        assert leader["leader"]["controller"] == leader["controller"]
        pipeline = await asked_of(user, False, id="orders")
        told = await asked_of(user, True, id="orders")
        assert pipeline["status"] == told["status"]
        assert pipeline["definition"] == told["definition"]
        assert [e["data"]["reason"] for e in pipeline["events"]] == ["Starting", "Ready"]
        listed = await asked_of(user, False, "list")
        assert [p["id"] for p in listed["pipelines"]] == ["orders"]
        assert listed["pipelines"] == (await asked_of(user, True, "list"))["pipelines"]
        assert other.world.calls == []


@pytest.mark.fault(17)
async def test_where_a_bucket_is_missing_at_boot_it_says_so_and_waits(builder: Builder) -> None:
    async with builder.house() as house:
        await house.publish("orders")
        await house.field.reaches("orders", "Running")
    calls = list(builder.world.calls)
    names = Names(builder.namespace)
    async with field_of(builder.url, builder.namespace) as user:
        await user.js.delete_stream(f"KV_{names.pipelines}")
    async with builder.house(leads=False) as house:
        user = house.field
        reply = await asked_of(user, False)
        problems = {p["reason"]: p["message"] for p in reply["problems"]}
        assert names.pipelines in problems["StoreMissing"]
        assert house.running.term is None
        js = user.js
        assert f"KV_{names.pipelines}" not in {s.config.name for s in await js.streams_info()}
        await house.running.context.store.setup()
        await house.running.leading()
        assert [
            c for c in builder.world.calls[len(calls) :] if c.method in ("stop", "remove")
        ] == []
        assert len(builder.world.running("orders")) == 1
        await eventually(lambda: _is_orphaned(user))


async def _is_orphaned(user: Field) -> bool:
    status = await user.status("orders")
    return bool(status and status.complaint and status.complaint.reason == "Orphaned")


@pytest.mark.fault(17)
async def test_where_a_bucket_goes_missing_it_says_so_and_leaves_everything(
    builder: Builder,
) -> None:
    async with builder.house() as house:
        await house.publish("orders")
        await house.field.reaches("orders", "Running")
        calls = list(builder.world.calls)
        names = Names(builder.namespace)
        await house.field.js.delete_stream(f"KV_{names.pipelines}")

        async def says_so() -> bool:
            reply = await house.field.request("status")
            return any(p["reason"] == "StoreMissing" for p in reply["problems"])

        await eventually(says_so, within=20.0)
        assert builder.world.calls == calls
        assert len(builder.world.running("orders")) == 1


@pytest.mark.fault(82)
async def test_a_status_that_somebody_overwrites_or_deletes_is_written_again(
    builder: Builder,
) -> None:
    async with builder.house() as house:
        await house.publish("orders")
        before = await house.field.reaches("orders", "Running")
        bucket = await house.field.js.key_value(house.field.names.status)
        for damage in (b"nonsense", None):
            if damage is None:
                await bucket.delete("orders")
            else:
                await bucket.put("orders", damage)

            async def is_back() -> bool:
                status = await house.field.status("orders")
                return status is not None and status.memory == before.memory

            await eventually(is_back)
        assert builder.world.count("start") == 1


@pytest.mark.fault(82)
async def test_a_status_bucket_that_is_made_anew_is_filled_again(builder: Builder) -> None:
    async with builder.house() as house:
        for key in ("orders", "lines"):
            await house.publish(key)
            await house.field.reaches(key, "Running")
        await house.field.js.delete_stream(f"KV_{house.field.names.status}")
        await house.running.context.store.setup()
        await eventually(lambda: house.field.phase("orders"), within=20.0)
        await eventually(lambda: house.field.phase("lines"), within=20.0)
        assert builder.world.count("start") == 2
