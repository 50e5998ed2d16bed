"""What runs is found although no folder tells of it: nothing is ever started beside it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from nexthos_controller.execution import Execution, Spec
from nexthos_controller.executors.local.processes import process
from nexthos_controller.executors.local.shim import session_argv
from nexthos_controller.executors.streams.lost import label
from nexthos_shared.errors import ExecutorUnreachable
from nexthos_testing.process_rig import ProcessRig, pids_below
from nexthos_testing.streams_rig import StreamsRig
from nexthos_testing.wait import eventually


def a_host(state: Path) -> Path:
    return next((state / "hosts").glob("[0-9]*"))


def forget_a_host(state: Path) -> None:
    for name in ("host.json", "new.json"):
        (a_host(state) / name).unlink()


WAYS: dict[str, Callable[[Path], object]] = {
    "all": shutil.rmtree,
    "streams": lambda state: shutil.rmtree(state / "streams"),
    "hosts": lambda state: shutil.rmtree(state / "hosts"),
    "a host": lambda state: shutil.rmtree(a_host(state)),
    "handles of a host": forget_a_host,
    "settings": lambda state: state.rename(state.with_name("elsewhere")),
}


async def start(rig: StreamsRig, spec: Spec) -> Execution | None:
    """As a controller does: it looks first, and does nothing where it is told nothing."""
    try:
        found = (await rig.executor.find(spec.id)).executions
        for old in found:
            if old.spec_hash != spec.spec_hash:
                await rig.executor.stop(old, 5.0)
                await rig.executor.remove(old)
        return await rig.executor.start(spec, 0)
    except ExecutorUnreachable:
        return None


@pytest.mark.fault(109)
@pytest.mark.parametrize("way", WAYS)
async def test_after_folders_were_deleted_nothing_is_started_beside_what_runs(
    streams_rig: StreamsRig, way: str
):
    rig = streams_rig
    old, new = rig.spec("orders", "puppet"), rig.spec("orders", "puppet", config={"other": 1})
    first = await rig.executor.start(old, 0)
    _, host = rig.host_of(first)
    await rig.close()
    WAYS[way](rig.folder / "state")
    await rig.open()

    async def started() -> Execution | None:
        ran = rig.ask(host, "/streams") or {}
        second = await start(rig, new)
        assert second is None or first.name not in ran, "beside the one of the version before"
        return second

    second = await eventually(started, within=30)
    assert first.name not in (rig.ask(host, "/streams") or {})
    assert rig.alive(second.name) == 1
    assert len(pids_below(rig.folder)) == len(pids_below(rig.hosts_root)), "no host is left behind"
    await rig.executor.stop(second, 5.0)
    await rig.executor.remove(await rig.seen(new))
    assert (await rig.executor.find(new.id)).executions == ()


@pytest.mark.fault(109)
@pytest.mark.parametrize("way", ["all", "hosts", "a host", "settings", "handles of a host"])
async def test_while_a_host_runs_of_which_nothing_tells_nothing_is_known_or_started(
    streams_rig: StreamsRig, way: str
):
    rig = streams_rig
    spec = rig.spec("orders", "puppet")
    await rig.executor.start(spec, 0)
    await rig.close()
    WAYS[way](rig.folder / "state")
    await rig.open()
    for key in ("orders", "others"):
        with pytest.raises(ExecutorUnreachable):
            await rig.executor.find(key)
        with pytest.raises(ExecutorUnreachable):
            await rig.executor.start(rig.spec(key, "puppet"), 0)
    with pytest.raises(ExecutorUnreachable):
        await rig.executor.list()


@pytest.mark.fault(109)
@pytest.mark.parametrize("way", ["all", "hosts", "a host"])
async def test_folders_that_are_deleted_under_a_controller_are_made_anew_and_nothing_else_changes(
    streams_rig: StreamsRig, way: str
):
    rig = streams_rig
    spec = rig.spec("orders", "puppet")
    first = await rig.executor.start(spec, 0)
    WAYS[way](rig.folder / "state")
    assert (await rig.seen(spec)).uid == first.uid
    assert (await rig.executor.list()).places
    await rig.reopen()
    assert (await rig.seen(spec)).uid == first.uid
    WAYS[way](rig.folder / "state")
    assert await rig.executor.stop(await rig.seen(spec), 5.0) == "drained"
    assert rig.alive(first.name) == 0
    assert (await rig.seen(spec)).state == "stopped"
    again = await rig.executor.start(spec, 0)
    assert rig.alive(again.name) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="another user's program: needs root")
async def test_a_command_line_that_another_user_made_up_stops_nothing(streams_rig: StreamsRig):
    rig = streams_rig
    argv = session_argv(Path("/nowhere/hosts/1/exit"), label(rig.owner, 1), ["sleep", "60"])
    forged = await asyncio.create_subprocess_exec(*argv, user=65534, start_new_session=True)
    try:
        await rig.reopen()
        assert (await rig.executor.find("orders")).executions == ()
        assert (await rig.executor.start(rig.spec(), 0)).state == "running"
        assert forged.returncode is None
    finally:
        os.killpg(forged.pid, signal.SIGKILL)
        await forged.wait()


@pytest.mark.fault(109)
@pytest.mark.parametrize("gone", [True, False])
async def test_a_process_is_found_with_other_settings_too(process_rig: ProcessRig, gone: bool):
    rig = process_rig
    spec = rig.spec("orders", "puppet")
    first = await rig.executor.start(spec, 0)
    await rig.close()
    state = rig.folder / "state"
    state.rename(state.with_name("elsewhere"))
    if gone:
        shutil.rmtree(state.with_name("elsewhere"))
    await rig.open()
    assert (await rig.seen(spec)).uid == first.uid
    assert (await rig.executor.start(spec, 0)).uid == first.uid
    assert await rig.executor.stop(await rig.seen(spec), 5.0) == "drained"
    left = process(int(first.uid.partition("-")[0]))
    assert left is None or left.dead
    await rig.executor.remove(await rig.seen(spec))
    assert (await rig.executor.find(spec.id)).executions == ()
