"""What a stream has counted begins at nothing with each of its lives."""

from __future__ import annotations

from functools import partial

import pytest

from nexthos_controller.execution import Execution
from nexthos_controller.executors.streams.metrics import since
from nexthos_controller.telemetry.engine_metrics import read_figures
from nexthos_testing.streams_rig import StreamsRig
from nexthos_testing.wait import eventually

ONCE = b"""\
input: {broker: {inputs: [
  {generate: {interval: 1ms, count: 40, mapping: 'root = "hi"'}},
  {generate: {interval: 1h, mapping: 'root = "late"'}}]}}
output: {drop: {}}
"""


async def received(rig: StreamsRig, execution: Execution) -> int:
    figures = read_figures(await rig.executor.metrics(execution))
    return int(figures.count.received or 0) if figures else 0


@pytest.mark.fault(110)
@pytest.mark.parametrize("reopened", [False, True])
async def test_what_was_deleted_and_is_put_again_begins_at_nothing(
    streams_rig: StreamsRig, reopened: bool
):
    rig = streams_rig
    spec = rig.spec("orders", config=ONCE)
    neighbour = await rig.executor.start(rig.spec("neighbour"), 0)
    for _ in range(3):
        execution = await rig.executor.start(spec, 0)
        assert rig.host_of(execution)[0] == rig.host_of(neighbour)[0]

        async def complete(execution: Execution = execution) -> int:
            found = await received(rig, execution)
            return found if found >= 40 else 0

        assert await eventually(complete) <= 42
        if reopened:
            await rig.reopen()
            assert 40 <= await received(rig, await rig.seen(spec)) <= 42
        await rig.executor.stop(execution, 5.0)
        kept = await rig.seen(spec)
        assert 40 <= await received(rig, kept) <= 42, "what it counted is kept with it"
        await rig.executor.remove(kept)
        assert await rig.executor.metrics(kept) == ""


async def test_what_is_resumed_begins_at_nothing_too(streams_rig: StreamsRig):
    rig = streams_rig
    spec = rig.spec("orders", config=ONCE)
    first = await rig.executor.start(spec, 0)

    async def some(execution: Execution) -> bool:
        return await received(rig, execution) >= 40

    await eventually(partial(some, first))
    await rig.executor.stop(first, 5.0)
    second = await rig.executor.start(spec, 0)
    await eventually(partial(some, second))
    assert await received(rig, second) <= 42


def test_counters_lose_their_base_and_gauges_do_not():
    before = """\
# TYPE a counter
a{path="x"} 5
# TYPE b gauge
b 7
# TYPE c summary
c{quantile="0.5"} 3
c_sum 1.5
c_count 4
"""
    after = """\
# TYPE a counter
a{path="x"} 12
a{path="y"} 1
# TYPE b gauge
b 7
# TYPE c summary
c{quantile="0.5"} 3
c_sum 2.25
c_count 4
"""
    assert since(after, before) == (
        after.replace("12", "7").replace("2.25", "0.75").replace("c_count 4", "c_count 0")
    )
    assert since(after, "") == after


def test_a_counter_that_is_below_its_base_has_begun_anew():
    assert since("# TYPE a counter\na 2\n", "a 5\n") == "# TYPE a counter\na 2\n"
    assert since("# TYPE a counter\na 2\n", "a x\n") == "# TYPE a counter\na 2\n"
