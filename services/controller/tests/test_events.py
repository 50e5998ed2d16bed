"""Events on the stream: whole, in order, once, and never in the way."""

from __future__ import annotations

from nexthos_shared.model import EventType
from nexthos_shared.reasons import Reason
from nexthos_testing.house import Builder
from nexthos_testing.wait import eventually


async def test_the_life_of_a_pipeline_is_told_from_its_start_to_its_deletion(
    builder: Builder,
) -> None:
    async with builder.house() as house:
        await house.publish("orders")
        await house.field.reaches("orders", "Running")
        house.world.finish(house.name("orders"), 7)
        await house.field.restarted("orders", 1)
        await house.field.put("orders", "paused")
        await house.field.reaches("orders", "Paused")
        await house.field.delete("orders")

        async def is_told() -> bool:
            events = await house.field.events("orders")
            return bool(events) and events[-1].data.reason is Reason.DELETED

        await eventually(is_told)
        events = await house.field.events("orders")
        reasons = [str(e.data.reason) for e in events]
        start = ["Starting", "Ready"]
        stops = ["Stopping", "Paused", "Stopping", "Deleted"]
        assert reasons == [*start, "Exited", *start, *stops]
        [end] = [e for e in events if e.type is EventType.RESTART]
        assert "exit code 7" in end.data.message
        assert (end.data.bad, end.data.restarts) == (True, 1)
        assert len({e.id for e in events}) == len(events)
        identity = house.running.context.identity
        assert {e.source for e in events} == {f"nexthos/{identity.namespace}/{identity.controller}"}


async def test_without_a_stream_of_events_pipelines_run_and_the_controller_says_so(
    builder: Builder,
) -> None:
    async with builder.house() as house:
        await house.field.js.delete_stream(house.field.names.events)
        await house.publish("orders")
        await house.field.reaches("orders", "Running")

        async def is_told() -> bool:
            reply = await house.field.request("status")
            return any(p["reason"].startswith("Store") for p in reply["problems"])

        await eventually(is_told)
        await house.running.context.store.setup()

        async def is_whole() -> bool:
            reasons = [e.data.reason for e in await house.field.events("orders")]
            return reasons == [Reason.STARTING, Reason.READY]

        await eventually(is_whole)


async def test_a_key_that_is_no_id_has_no_events_and_harms_nobody(builder: Builder) -> None:
    async with builder.house() as house:
        await house.field.put("Not.An-Id")
        await house.publish("orders")
        await house.field.reaches("orders", "Running")
        await house.field.events_with("orders", Reason.READY)
        assert {e.subject for e in await house.field.events()} == {"orders"}
