"""The fake executor's faults, and its world that outlives executors. The contract suite tests the rest."""

from __future__ import annotations

import asyncio
import time

import pytest

from nexthos_controller.execution import Owner, Spec
from nexthos_controller.executors.fake import Call, FakeExecutor, FakeWorld, fake_context
from nexthos_shared.errors import ExecutorUnreachable, StartFailed
from nexthos_shared.model import Pipeline


def spec(pipeline_id: str = "orders") -> Spec:
    definition = Pipeline.model_validate({"status": "published", "version": "1"}, strict=False)
    digest = f"sha256:{'0' * 64}"
    return Spec(pipeline_id, 1, definition.spec_hash(digest), digest, "fake", definition)


@pytest.fixture
async def world():
    return FakeWorld()


@pytest.fixture
async def executor(world):
    async with FakeExecutor(fake_context(), world) as executor:
        yield executor


async def test_a_world_is_shared_by_executors_and_outlives_them(world):
    async with FakeExecutor(fake_context(), world) as one:
        execution = await one.start(spec(), 0)
    async with (
        FakeExecutor(fake_context(), world) as two,
        FakeExecutor(fake_context(), world) as three,
    ):
        hints = three.events()
        assert (await two.find("orders")).executions == (execution,)
        await two.stop(execution, 1.0)
        assert await anext(hints) == "orders"
        assert [e.state for e in (await three.list()).executions] == ["stopped"]


@pytest.mark.parametrize("key", ["start", ("start", "orders")])
async def test_a_call_hangs_until_it_is_let_go(world, executor, key):
    gate = world.faults.hang[key] = asyncio.Event()
    call = asyncio.create_task(executor.start(spec(), 0))
    await asyncio.sleep(0)
    await executor.start(spec("others"), 0) if isinstance(key, tuple) else None
    assert not call.done()
    gate.set()
    assert (await call).state == "running"


async def test_a_call_fails_as_often_as_it_was_told(world, executor):
    world.faults.fail["start"] = [StartFailed("one"), StartFailed("two")]
    for words in ("one", "two"):
        with pytest.raises(StartFailed, match=words):
            await executor.start(spec(), 0)
    assert (await executor.start(spec(), 0)).state == "running"
    assert world.count("start") == 3


async def test_a_liar_says_done_and_does_nothing(world, executor):
    execution = await executor.start(spec(), 0)
    world.faults.lie = {"start", "stop", "remove"}
    await executor.start(spec("others"), 0)
    assert await executor.stop(execution, 1.0) == "drained"
    await executor.remove(execution)
    assert world.running() == [execution]


async def test_what_vanishes_is_gone_without_a_word(world, executor):
    hints = executor.events()
    execution = await executor.start(spec(), 0)
    assert await anext(hints) == "orders"
    world.vanish(execution.name)
    assert (await executor.find("orders")).executions == ()
    waiting = asyncio.ensure_future(anext(hints))
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


async def test_a_silent_place_hides_what_lives_there(world, executor):
    await executor.start(spec(), 0)
    world.faults.silent = {"fake"}
    with pytest.raises(ExecutorUnreachable):
        await executor.list()
    assert len(world.running("orders")) == 1


async def test_calls_are_noted_in_order_and_reads_are_not(world, executor):
    execution = await executor.start(spec(), 0)
    await executor.find("orders")
    await executor.stop(execution, 1.0)
    await executor.remove(execution)
    assert world.calls == [
        Call("start", execution.name, "orders"),
        Call("stop", execution.name, "orders", execution.uid),
        Call("remove", execution.name, "orders", execution.uid),
    ]


async def test_latency_is_that_of_every_call(world, executor):
    world.faults.latency = 0.02
    began = time.monotonic()
    await executor.list()
    assert time.monotonic() - began >= 0.02


async def test_another_owners_things_are_not_seen(world, executor):
    await executor.start(spec(), 0)
    async with FakeExecutor(fake_context(Owner("nexthos", "other")), world) as other:
        assert (await other.list()).executions == ()
        await other.start(spec(), 0)
    assert len(world.running()) == 2
    assert len((await executor.list()).executions) == 1
