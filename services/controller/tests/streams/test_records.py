"""Folders of streams: damaged, removed, cut short; and what is read of one stream among others."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path

import pytest

import nexthos_testing
from nexthos_controller.executors.streams.metrics import split
from nexthos_shared.errors import ExecutorUnreachable
from nexthos_testing.rig import STEADY
from nexthos_testing.streams_rig import StreamsRig
from nexthos_testing.wait import eventually

CHILD = Path(__file__).parent / "crash_child_streams.py"
POINTS = {  # how many streams run right afterwards, and what the next controller sees
    "streams.prepared": (0, "prepared"),
    "streams.host.spawning": (0, "prepared"),
    "streams.host.spawned": (0, "prepared"),
    "streams.creating": (0, "prepared"),
    "streams.created": (1, "running"),
    "streams.stopping": (1, "running"),
    "streams.removing": (0, None),
}
AT_ONCE = {  # the same where `start` had nothing prepared
    "streams.host.spawning": (0, None),
    "streams.host.spawned": (0, None),
    "streams.creating": (0, "prepared"),
    "streams.created": (1, "running"),
}


async def is_ready(rig, spec):
    seen = await rig.seen(spec)
    return seen if seen.ready else None


async def has_ended(rig, spec):
    seen = await rig.seen(spec)
    return seen if seen.state == "stopped" else None


@pytest.mark.fault(2, 3, 4)
@pytest.mark.parametrize(
    ("how", "point"),
    [("prepares", point) for point in POINTS] + [("at-once", point) for point in AT_ONCE],
)
async def test_after_a_kill_at_any_point_exactly_one_runs(streams_rig: StreamsRig, how, point):
    rig = streams_rig
    await rig.close()
    support = str(Path(nexthos_testing.__file__).parents[1])
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        CHILD,
        rig.folder,
        how,
        env={**os.environ, "NEXTHOS_FAULT": point, "PYTHONPATH": support},
    )
    assert await child.wait() == -9
    runs, state = (POINTS if how == "prepares" else AT_ONCE)[point]
    spec = rig.spec("orders", "puppet")
    assert sum(map(len, rig.streams().values())) == runs
    await rig.open()
    seen = (await rig.executor.list()).executions
    assert [e.state for e in seen] == ([state] if state else [])
    execution = await rig.executor.start(spec, 0)
    before = [e.uid for e in seen if e.state == "running"]
    assert before == ([execution.uid] if runs else [])
    await eventually(partial(is_ready, rig, spec))
    assert list(rig.streams()) == [execution.name]
    assert rig.alive(execution.name) == 1
    assert await rig.executor.stop(execution, 10.0) == "drained"
    await rig.executor.remove(await rig.seen(spec))
    assert list(rig.root.iterdir()) == []


@pytest.mark.fault(61)
@pytest.mark.parametrize("both", [False, True], ids=["handle", "handle-and-copy"])
@pytest.mark.parametrize("content", ["", "{", '{"name": "x"}', "\0" * 100])
async def test_a_damaged_handle_loses_and_doubles_nothing(streams_rig: StreamsRig, content, both):
    rig = streams_rig
    spec = rig.spec("orders", "puppet", revision=7)
    execution = await rig.executor.start(spec, 2)
    began = await eventually(partial(is_ready_of, rig, spec, 2))
    await rig.close()
    folder = rig.root / execution.name
    for file in ("handle.json", *(["prepared.json"] if both else [])):
        (folder / file).write_text(content)
    await rig.open()
    assert rig.alive(execution.name) == 1
    seen = (await rig.executor.list()).executions
    assert [(e.id, e.replica, e.state) for e in seen] == (
        [] if both else [("orders", 2, "running")]
    )
    again = await rig.executor.start(spec, 2)
    assert (again.state, again.revision) == ("running", 7)
    assert rig.alive(execution.name) == 1
    assert began.name == again.name
    assert await rig.executor.stop(again, 5.0) == "drained"
    assert rig.alive(execution.name) == 0


async def is_ready_of(rig, spec, replica):
    seen = await rig.seen(spec, replica)
    return seen if seen.ready else None


@pytest.mark.fault(61)
@pytest.mark.parametrize("content", ["", "{", "null"])
async def test_a_damaged_handle_of_a_host_is_healed(streams_rig: StreamsRig, content):
    """Its copy says how it is asked, and its processes tell by their argv where they belong."""
    rig = streams_rig
    spec = rig.spec()
    execution = await rig.executor.start(spec, 0)
    folder, _ = rig.host_of(execution)
    await rig.close()
    (folder / "host.json").write_text(content)
    await rig.open()
    assert (await rig.seen(spec)).uid == execution.uid
    assert rig.alive(execution.name) == 1


@pytest.mark.fault(61, 77)
async def test_a_host_of_which_nothing_can_be_read_is_unknown(streams_rig: StreamsRig):
    """It runs and nobody can ask it: so nothing is started instead, until somebody ends it."""
    rig = streams_rig
    spec = rig.spec()
    execution = await rig.executor.start(spec, 0)
    folder, host = rig.host_of(execution)
    await rig.close()
    for file in ("host.json", "new.json"):
        (folder / file).write_text("{")
    await rig.open()
    with pytest.raises(ExecutorUnreachable):
        await rig.executor.find(spec.id)
    with pytest.raises(ExecutorUnreachable):
        await rig.executor.list()
    os.killpg(host["pid"], signal.SIGKILL)
    seen = await eventually(partial(known_end, rig, spec))
    assert (seen.uid, seen.exit.code) == (execution.uid, None)


async def known_end(rig, spec):
    try:
        return await has_ended(rig, spec)
    except ExecutorUnreachable:
        return None


async def test_a_stream_whose_folder_is_gone_is_ended(streams_rig: StreamsRig):
    """Row L2: no stream outlives what it is for."""
    rig = streams_rig
    spec = rig.spec()
    execution = await rig.executor.start(spec, 0)
    await eventually(partial(is_ready, rig, spec))
    shutil.rmtree(rig.root / execution.name)
    assert (await rig.listing(spec)).executions == ()
    await eventually(lambda: rig.alive(execution.name) == 0)


async def test_each_has_its_own_lines_and_metrics(streams_rig: StreamsRig):
    rig = streams_rig
    mine, other = rig.spec("mine", "puppet"), rig.spec("other", "puppet")
    executions = [await rig.executor.start(s, 0) for s in (mine, other)]
    for spec in (mine, other):
        await eventually(partial(is_ready, rig, spec))
    rig.say(executions[0], "said by mine", "log")
    rig.say(executions[1], "said by other", "log")
    rig.say(executions[1], "nobody knows by whom", "output")

    async def lines(execution):
        return [line.text async for line in rig.executor.logs(execution)]

    async def said():
        first, second = [await lines(e) for e in executions]
        return (first and second) and (first, second)

    first, second = await eventually(said)
    assert len(first) == len(second) == 1
    assert "said by mine" in first[0]
    assert "said by other" in second[0]
    assert await rig.executor.metrics(executions[0]) == "puppet_up 1\n"
    await rig.executor.stop(executions[0], 5.0)
    assert await lines(executions[0]) == first
    rig.kill(executions[1])
    await eventually(partial(has_ended, rig, other))
    assert await lines(executions[1]) == second


def test_metrics_are_split_by_stream_and_lose_the_label():
    text = (
        "# HELP a A\n# TYPE a counter\n"
        'a{label="",path="root.input",stream="x"} 1\n'
        'a{label="",path="root.input",stream="y"} 2\n'
        "# HELP b B\n# TYPE b gauge\n"
        'b{stream="x",z="1"} 3\n'
        'b{stream="y"} 4\n'
        "# TYPE go gauge\ngo 1\n"
    )
    assert split(text) == {
        "x": "# HELP a A\n# TYPE a counter\n"
        'a{label="",path="root.input"} 1\n'
        '# HELP b B\n# TYPE b gauge\nb{z="1"} 3\n',
        "y": "# HELP a A\n# TYPE a counter\n"
        'a{label="",path="root.input"} 2\n'
        "# HELP b B\n# TYPE b gauge\nb 4\n",
    }


async def test_a_pause_keeps_the_record_and_a_resume_fetches_nothing(streams_rig: StreamsRig):
    rig = streams_rig
    spec = rig.spec()
    first = await rig.executor.start(spec, 0)
    assert await rig.executor.stop(first, 5.0) == "drained"
    stored = json.loads((rig.root / first.name / "handle.json").read_text())
    assert stored["life"]["exit"]["signalled"] is True
    await rig.reopen()
    again = await rig.executor.start(spec, 0)
    assert (again.state, len(rig.fetches)) == ("running", 1)


async def test_a_real_drain_takes_its_time_and_is_cut_at_the_grace(streams_rig: StreamsRig):
    rig = streams_rig
    config = STEADY + b"pipeline: {threads: 1, processors: [{sleep: {duration: 1s}}]}\n"
    spec = rig.spec("slow", config=config)
    execution = await rig.executor.start(spec, 0)
    await eventually(partial(is_ready, rig, spec))
    assert await rig.executor.stop(execution, 10.0) == "drained"
    config = config.replace(b"1s", b"60s")
    spec = rig.spec("slower", config=config)
    execution = await rig.executor.start(spec, 0)
    await eventually(partial(is_ready, rig, spec))
    assert await rig.executor.stop(execution, 0.3) == "killed"
    assert rig.alive(execution.name) == 0
