"""base.py: events, logs, metrics."""

from __future__ import annotations

import asyncio

from nexthos_testing.rig import Rig
from nexthos_testing.wait import eventually


async def test_a_hint_comes_for_each_start_readiness_and_end(rig: Rig):
    """> Ids to look at again: something started, became ready or unready, or ended."""
    hints = rig.executor.events()
    spec = rig.spec("orders", "puppet")
    execution = await rig.executor.start(spec, 0)

    async def hinted(true):
        """Look only when a hint comes."""
        async with asyncio.timeout(10.0):
            while not true(await rig.seen(spec)):
                assert await anext(hints) == spec.id

    assert await anext(hints) == spec.id
    await hinted(lambda e: e.ready is True)
    rig.connect(execution, False)
    await hinted(lambda e: e.ready is False)
    rig.finish(execution, 0)
    await hinted(lambda e: e.state == "stopped")


async def test_events_end_with_the_executor_and_nothing_depends_on_them(rig: Rig):
    """> Hints only: they may come late, twice or never, and the iterator may end; correctness never
    rests on it.
    """
    hints = rig.executor.events()
    execution = await rig.executor.start(rig.spec(), 0)
    async with asyncio.timeout(5.0):
        await rig.close()
        assert [hint async for hint in hints].count("orders") <= 3
    await rig.open()
    assert await rig.executor.stop(execution, 5.0) == "drained"


async def test_the_last_lines_come_oldest_first(rig: Rig):
    """> The last `tail` lines, oldest first; with `follow` also new ones, until it is stopped.
    > One line of an execution.
    > `stream`: `log` for the engine's own log, `output` for the rest.
    """
    spec = rig.spec("orders", "puppet")
    execution = await rig.executor.start(spec, 0)
    await eventually(lambda: ready(rig, spec))
    for number in range(20):
        rig.say(execution, f"line {number}", "output")
    rig.say(execution, "from the engine", "log")

    async def lines(tail):
        return [line async for line in rig.executor.logs(execution, tail=tail)]

    async def complete():
        seen = await lines(100)
        return len(seen) >= 21 and seen

    seen = await eventually(complete)
    assert [line.text for line in seen if line.stream == "output"] == [
        f"line {number}" for number in range(20)
    ]
    assert "from the engine" in seen[-1].text
    assert seen[-1].stream == "log"
    assert seen[-1].time is not None
    assert await lines(3) == seen[-3:]
    assert await lines(0) == []


async def test_following_brings_new_lines_until_it_is_stopped(rig: Rig):
    """> The last `tail` lines, oldest first; with `follow` also new ones, until it is stopped."""
    spec = rig.spec("orders", "puppet")
    execution = await rig.executor.start(spec, 0)
    await eventually(lambda: ready(rig, spec))
    seen: list[str] = []

    async def follow():
        async for line in rig.executor.logs(execution, tail=1, follow=True):
            seen.append(line.text)

    following = asyncio.create_task(follow())
    rig.say(execution, "first", "output")
    await eventually(lambda: "first" in seen)
    rig.say(execution, "second", "output")
    await eventually(lambda: "second" in seen)
    assert not following.done()
    await rig.executor.stop(execution, 5.0)
    async with asyncio.timeout(5.0):
        await following
    assert seen.index("first") < seen.index("second")


async def test_logs_outlive_the_execution_and_go_with_it(rig: Rig):
    """> After: nothing of it runs; it is kept, with its handle, bytes and log, and its exit says
    `signalled`.
    > Leave no trace of it: no handle, file, volume, log.
    """
    spec = rig.spec("orders", "puppet")
    execution = await rig.executor.start(spec, 0)
    await eventually(lambda: ready(rig, spec))
    rig.say(execution, "remember", "output")

    async def lines():
        return [line.text async for line in rig.executor.logs(execution)]

    async def said():
        return "remember" in await lines()

    await eventually(said)
    await rig.executor.stop(execution, 5.0)
    await rig.reopen()
    assert "remember" in await lines()
    await rig.executor.remove(await rig.seen(spec))
    assert await lines() == []


async def test_metrics_are_prometheus_text_also_after_the_end(rig: Rig):
    """> The engine's own metrics as Prometheus text; the last ones if it ended; "" if unknown."""
    spec = rig.spec()
    await rig.executor.prepare(spec, 0)
    assert await rig.executor.metrics(await rig.seen(spec)) == ""
    execution = await rig.executor.start(spec, 0)
    await eventually(lambda: ready(rig, spec))

    async def metrics():
        return await rig.executor.metrics(execution)

    text = await eventually(metrics)
    assert all(line.startswith("#") or " " in line for line in text.splitlines())
    await rig.executor.stop(execution, 5.0)
    assert await metrics()
    await rig.executor.remove(await rig.seen(spec))
    assert await metrics() == ""


async def ready(rig: Rig, spec):
    seen = await rig.seen(spec)
    return seen if seen.ready else None
