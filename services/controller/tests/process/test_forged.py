"""Command lines that somebody else made to look like ours: nothing of his is adopted, nor ended."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from nexthos_controller.executors.local.processes import process
from nexthos_testing.process_rig import ProcessRig, leader
from nexthos_testing.wait import eventually

STRANGER = 64_019


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become other users")
@pytest.mark.fault(111)
async def test_a_strangers_process_with_our_command_line_is_not_adopted(
    process_rig: ProcessRig, tmp_path: Path
):
    rig = process_rig
    spec = rig.spec(behaviour="puppet")
    execution = await rig.executor.start(spec, 0)
    argv = Path(f"/proc/{leader(execution)}/cmdline").read_bytes().split(b"\0")[:-1]
    argv[2] = b"sleep 60 & wait"  # the script: all else is as ours
    forged = subprocess.Popen(  # noqa: ASYNC220
        argv, user=STRANGER, group=STRANGER, extra_groups=[], start_new_session=True
    )
    try:
        await eventually(lambda: process(forged.pid) is not None)
        await rig.reopen()
        listing = await rig.executor.list()
        assert [e.uid for e in listing.executions] == [execution.uid]
        rig.kill(execution)
        await eventually(lambda: not rig.pids(execution.name).get(leader(execution)))
        (rig.root / execution.name / "handle.json").write_text("damaged")
        await rig.reopen()
        listing = await rig.executor.list()
        assert str(forged.pid) not in {e.uid.partition("-")[0] for e in listing.executions}
        assert forged.poll() is None
    finally:
        os.killpg(forged.pid, 9)
        forged.wait()


async def test_a_life_whose_password_is_lost_runs_on_and_is_not_asked(process_rig: ProcessRig):
    rig = process_rig
    spec = rig.spec(behaviour="puppet")
    execution = await rig.executor.start(spec, 0)
    folder = rig.root / execution.name
    for name in ("handle.json", "password"):
        (folder / name).write_text("damaged")
    await rig.reopen()
    [seen] = (await rig.executor.list()).executions

    assert (seen.uid, seen.state, seen.ready) == (execution.uid, "running", None)


async def test_a_damaged_handle_is_made_anew_with_the_password(process_rig: ProcessRig):
    rig = process_rig
    spec = rig.spec(behaviour="puppet")
    execution = await rig.executor.start(spec, 0)
    (rig.root / execution.name / "handle.json").write_text("damaged")
    await rig.reopen()

    async def ready() -> bool:
        [seen] = (await rig.executor.list()).executions
        return seen.uid == execution.uid and seen.ready is True

    await eventually(ready)
