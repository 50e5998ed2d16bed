"""Rows of docs/faults.md about executors and time that the loop shows by itself, over fake ones."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from structlog.testing import capture_logs

from nexthos_controller.cache import executions as observe
from nexthos_controller.execution import Execution
from nexthos_controller.executors.fake import FakeWorld
from nexthos_controller.lifecycle.app import steady_clock
from nexthos_controller.loop import reconciler as controller
from nexthos_shared.errors import ExecutorUnreachable
from nexthos_shared.model import ConditionType, Phase, PipelineStatus
from nexthos_shared.reasons import Reason
from nexthos_shared.store import Store
from nexthos_testing.house import CONFIG, Builder, House, condition
from nexthos_testing.wait import eventually


@pytest.mark.fault(29)
async def test_a_listing_that_fails_removes_nothing(builder: Builder) -> None:
    world = builder.world
    async with builder.house(resync=0.2) as house:
        await house.publish("orders")
        await house.field.reaches("orders", "Running")
        refusals = world.faults.fail["list"] = [ExecutorUnreachable("no answer")] * 1000
        with capture_logs() as logs:
            await eventually(lambda: len(refusals) < 997)
        assert "executor did not list" in [line["event"] for line in logs]
        await house.field.request("reconcile")
        assert await house.field.phase("orders") == "Running"
    assert (world.count("stop"), world.count("remove"), len(world.running())) == (0, 0, 1)


@pytest.mark.fault(29, 55)
async def test_deleted_while_its_place_is_silent_nothing_is_done_until_it_answers(
    builder: Builder,
) -> None:
    world = builder.world = FakeWorld(places=("here", "there"))
    async with builder.house() as house:
        await house.publish("orders")
        await house.field.reaches("orders", "Running")
        world.faults.silent = {"here"}
        await house.field.delete("orders")
        status = await house.field.reaches("orders", "Stopping")
        assert condition(status, ConditionType.REACHABLE) == ("False", Reason.PLACE_LOST)
        await house.field.request("reconcile", timeout="10ms")
        assert (world.count("stop"), world.count("remove"), len(world.running())) == (0, 0, 1)
        world.faults.silent = set()
        await house.field.request("reconcile")
        await eventually(lambda: world.things == {})
        assert await house.field.status("orders") is None


@pytest.mark.fault(36)
async def test_the_count_of_ends_survives_the_controller(builder: Builder) -> None:
    async with builder.house() as house:
        await house.publish("orders")
        await house.field.reaches("orders", "Running")
        builder.world.finish(house.name("orders"), 7)
        first = await house.field.restarted("orders", 1)
    async with builder.house() as house:
        builder.world.finish(house.name("orders"), 7)

        async def counted() -> PipelineStatus | None:
            status = await house.field.status("orders")
            return status if status and status.restarts == 2 else None

        second = await eventually(counted)
    assert (first.memory.slots[0].failures, second.memory.slots[0].failures) == (1, 2)


async def alone(house: House, version: str) -> Execution | None:
    """The only execution of `orders` that there is, once the status says that this version runs."""
    status = await house.field.status("orders")
    if status is None or (status.phase, status.version) != (Phase.RUNNING, version):
        return None
    assert status.memory.current is not None
    made = [t.execution for t in house.world.things.values()]
    only = [e for e in made if e.spec_hash == status.memory.current.spec_hash]
    return only[0] if made == only and made[0].state == "running" else None


@pytest.mark.fault(53)
async def test_changed_while_it_starts_the_last_version_alone_survives(house: House) -> None:
    world = house.world
    world.faults.hang["start", "orders"] = gate = asyncio.Event()
    await house.publish("orders", "1")
    await eventually(lambda: world.count("start") == 1)
    for version in ("2", "3"):
        await house.publish("orders", version)
    gate.set()
    await eventually(lambda: alone(house, "3"))


@pytest.mark.fault(54)
async def test_deleted_and_made_again_between_two_looks_is_an_update(house: House) -> None:
    world = house.world
    await house.publish("orders", "1")
    await house.field.reaches("orders", "Running")
    [old] = world.running()
    world.faults.hang["find", "orders"] = gate = asyncio.Event()
    await house.field.put("orders", name="to be looked at")
    await house.field.delete("orders")
    await house.publish("orders", "2")
    gate.set()
    new = await eventually(lambda: alone(house, "2"))
    assert new.uid != old.uid
    calls = [(call.method, call.execution == old.name) for call in world.calls]
    assert calls.index(("stop", True)) < calls.index(("start", False))


@pytest.mark.fault(58)
@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_the_clock_of_timers_does_not_jump_with_the_wall_clock(
    monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    clock, wall = steady_clock(), time.time()
    before = clock()
    monkeypatch.setattr(time, "time", lambda: wall + jump)
    assert abs(clock() - before) < abs(jump) / 2


@pytest.mark.fault(64)
async def test_a_start_that_hangs_ends_in_time_and_is_told(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller, "START_WITHIN", 0.1)
    builder.world.faults.hang["start", "stuck"] = gate = asyncio.Event()
    async with builder.house(workers=1) as house:
        for key in ("stuck", "good"):
            await house.publish(key)
        await house.field.reaches("good", "Running")

        async def told() -> bool:
            status = await house.field.status("stuck")
            return bool(status and status.complaint and "start did not" in status.complaint.message)

        await eventually(told)
        gate.set()
        await house.field.reaches("stuck", "Running")


@pytest.mark.fault(64)
async def test_an_executor_that_never_answers_for_one_pipeline_holds_up_no_other(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observe, "ANSWER_WITHIN", 0.1)
    builder.world.faults.hang["find", "stuck"] = gate = asyncio.Event()
    async with builder.house(workers=1) as house:
        for key in ("stuck", "good"):
            await house.publish(key)
        status = await house.field.reaches("stuck", "Unknown")
        assert condition(status, ConditionType.REACHABLE) == ("False", Reason.EXECUTOR_UNREACHABLE)
        await house.field.reaches("good", "Running")
        assert builder.world.count("start", "stuck") == 0
        gate.set()
        await house.field.put("stuck", name="look again")
        await house.field.reaches("stuck", "Running")


MANY, PUBLISHED = 5000, 200


async def store_many(store: Store) -> None:
    """As many programs would: nobody waits for an answer before the next one is sent."""
    await asyncio.gather(
        *(store.configs.put(f"p{n}", "1", CONFIG.encode()) for n in range(PUBLISHED))
    )
    for n in range(MANY):
        status = "published" if n < PUBLISHED else "paused"
        entry = json.dumps({"status": status, "version": "1"}).encode()
        await store.link.nc.publish(f"$KV.{store.pipelines.name}.p{n}", entry)

    async def stored() -> bool:
        info = await store.link.js.stream_info(store.pipelines.stream)
        return bool(info.state.messages == MANY)

    await eventually(stored, within=20.0)


@pytest.mark.fault(65)
async def test_with_5000_pipelines_at_boot_starts_are_bounded_and_a_change_comes_first(
    builder: Builder, store: Store
) -> None:
    await store_many(store)
    async with builder.house() as house:
        await house.publish("live")
        await eventually(lambda: builder.world.running("live"), within=20.0)
        book = (await house.running.leading()).controller.statuses
        assert len(book.keys()) < MANY
        await eventually(lambda: len(book.keys()) == MANY + 1, within=40.0)
        await eventually(lambda: len(builder.world.running()) == PUBLISHED + 1)
        assert 1 < house.executor.most <= 16
    assert builder.world.count("start") == PUBLISHED + 1
