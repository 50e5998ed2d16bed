"""kill -9 of the controller at each point of a process execution's life; then exactly one, or none."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

import nexthos_testing
from nexthos_testing.process_rig import ProcessRig
from nexthos_testing.wait import eventually

CHILD = Path(__file__).parent / "crash_child.py"
POINTS = {  # what runs right afterwards, what the next controller sees
    "process.preparing": (0, None),
    "process.prepared": (0, "prepared"),
    "process.spawning": (0, "prepared"),
    "process.spawned": (1, "running"),
    "process.started": (1, "running"),
    "process.stopping": (1, "running"),
    "process.removing": (0, None),
}


async def crash(rig: ProcessRig, point: str, config: str = "{}") -> None:
    """Let a controller die there, on the rig's folder."""
    support = str(Path(nexthos_testing.__file__).parents[1])
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        CHILD,
        rig.folder,
        config,
        env={**os.environ, "NEXTHOS_FAULT": point, "PYTHONPATH": support},
    )
    assert await child.wait() == -9


@pytest.mark.fault(2, 3, 4)
@pytest.mark.parametrize("point", POINTS)
async def test_after_a_kill_at_any_point_exactly_one_runs(process_rig: ProcessRig, point: str):
    """Rows 2, 3 and 4 of the fault table."""
    rig = process_rig
    await rig.close()
    await crash(rig, point)
    runs, state = POINTS[point]
    spec = rig.spec("orders", "puppet")
    before = set(rig.pids("").values())
    assert len(before) == runs
    await rig.open()
    seen = (await rig.executor.list()).executions
    assert [e.state for e in seen] == ([state] if state else [])
    assert [path.name for path in rig.root.iterdir()] == [e.name for e in seen]
    execution = await rig.executor.start(spec, 0)
    assert rig.alive(execution.name) == 1
    assert before <= set(rig.pids("").values())  # nothing that ran was restarted

    async def ready():
        return (await rig.seen(spec)).ready

    await eventually(ready)
    assert await rig.executor.stop(execution, 10.0) == "drained"
    await rig.executor.remove(await rig.seen(spec))
    assert list(rig.root.iterdir()) == []


@pytest.mark.fault(83)
async def test_one_that_ended_before_its_pid_was_noted_is_judged(process_rig: ProcessRig):
    """Row 83: a spawn counts, also if the controller that did it is gone: it is an end with a uid."""
    rig = process_rig
    await rig.close()
    await crash(rig, "process.spawned", '{"exit": 3}')
    await eventually(lambda: not rig.pids(""))
    await rig.open()
    [seen] = (await rig.executor.list()).executions
    assert seen.exit is not None
    assert (seen.state, seen.exit.code) == ("stopped", 3)
    assert seen.uid
    await rig.reopen()
    assert (await rig.executor.list()).executions == (seen,)
