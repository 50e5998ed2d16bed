"""base.py under two controllers: what the old one still has under way misses what the new one made."""

from __future__ import annotations

import asyncio

import pytest

from nexthos_testing.rig import Rig
from nexthos_testing.wait import eventually


@pytest.mark.fault(78)
async def test_a_slow_stop_of_the_old_leader_misses_what_the_new_one_started(rig: Rig):
    spec = rig.spec("orders", "stubborn")
    first = await rig.executor.start(spec, 0)
    await eventually(lambda: ready(rig, spec))
    slow = asyncio.create_task(rig.executor.stop(first, 2.0))
    async with rig.other(rig.owner) as new_leader:
        await asyncio.sleep(0)
        assert await new_leader.stop(first, 0.0) == "killed"
        second = await new_leader.start(spec, 0)
        async with asyncio.timeout(10.0):
            await slow
        await rig.executor.remove(first)
        [seen] = (await new_leader.find(spec.id)).executions
        assert (seen.uid, seen.state) == (second.uid, "running")
        assert second.uid != first.uid
        for _ in range(20):  # an engine outlives the loss of its folder by some milliseconds
            assert rig.alive(second.name) == 1
            await asyncio.sleep(0.01)


async def ready(rig: Rig, spec):
    seen = await rig.seen(spec)
    return seen if seen.ready else None
