"""Folders of process executions: damaged, deleted, half made, full, shared."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from structlog.testing import capture_logs

from nexthos_controller.execution import Owner
from nexthos_controller.executors.local import place
from nexthos_controller.executors.local.folders import hidden_prefix
from nexthos_shared.errors import NameConflict, StartFailed
from nexthos_testing.process_rig import ProcessRig, disk_full
from nexthos_testing.wait import eventually


async def ready(rig, spec):
    seen = await rig.seen(spec)
    return seen if seen.ready else None


async def ended(rig, spec):
    seen = await rig.seen(spec)
    return seen if seen.state == "stopped" else None


DAMAGES = ["", "{", '{"name": "x"}', "null", "\0" * 500]


@pytest.mark.fault(61)
@pytest.mark.parametrize("both", [False, True], ids=["handle", "handle-and-copy"])
@pytest.mark.parametrize("content", DAMAGES)
async def test_a_damaged_handle_of_what_runs_is_healed(process_rig: ProcessRig, content, both):
    """Row 61: what runs tells by its argv whose it is."""
    rig = process_rig
    spec = rig.spec("orders", "puppet", revision=7)
    execution = await rig.executor.start(spec, 2)
    await rig.close()
    folder = rig.root / execution.name
    for file in ("handle.json", *(["prepared.json"] if both else [])):
        (folder / file).write_text(content)
    with capture_logs() as logs:
        await rig.open()
    assert [line["log_level"] for line in logs] == ["warning"]
    assert str(folder) in logs[0]["folder"]
    [seen] = (await rig.executor.list()).executions
    assert (seen.uid, seen.id, seen.replica, seen.revision) == (execution.uid, "orders", 2, 7)
    assert seen.endpoint == execution.endpoint
    await rig.reopen()
    assert (await rig.executor.start(spec, 2)).uid == execution.uid
    assert await rig.executor.stop(execution, 10.0) == "drained"
    assert (await rig.executor.start(spec, 2)).state == "running"


async def test_a_damaged_handle_of_what_ended_falls_back_to_its_copy(process_rig: ProcessRig):
    rig = process_rig
    spec = rig.spec("orders", "puppet")
    execution = await rig.executor.start(spec, 0)
    await eventually(lambda: ready(rig, spec))
    rig.finish(execution, 3)
    await eventually(lambda: ended(rig, spec))
    (rig.root / execution.name / "handle.json").write_text("{")
    await rig.reopen()
    seen = await rig.seen(spec)
    assert seen.exit is not None
    assert (seen.state, seen.exit.code) == ("stopped", 3)


@pytest.mark.fault(61)
async def test_where_nothing_can_be_known_nothing_is_guessed_and_a_start_makes_it_anew(
    process_rig: ProcessRig,
):
    rig = process_rig
    spec = rig.spec()
    await rig.executor.prepare(spec, 0)
    name = (await rig.seen(spec)).name
    for file in ("handle.json", "prepared.json"):
        (rig.root / name / file).write_text("{")
    with capture_logs() as logs:
        await rig.reopen()
    assert [line["log_level"] for line in logs] == ["warning"]
    assert (await rig.executor.list()).executions == ()
    execution = await rig.executor.start(spec, 0)
    assert execution.name == name
    assert await rig.executor.stop(execution, 10.0) == "drained"
    await rig.executor.remove(await rig.seen(spec))
    assert rig.traces(name) == []


async def test_a_handle_damaged_under_our_eyes_is_healed_too(process_rig: ProcessRig):
    rig = process_rig
    spec = rig.spec()
    execution = await rig.executor.start(spec, 0)
    (rig.root / execution.name / "handle.json").write_text("{")
    assert (await rig.seen(spec)).uid == execution.uid
    await rig.reopen()
    assert (await rig.seen(spec)).uid == execution.uid


@pytest.mark.parametrize("reopened", [False, True])
async def test_what_runs_outlives_its_folder(process_rig: ProcessRig, reopened):
    rig = process_rig
    spec = rig.spec("orders", "puppet")
    execution = await rig.executor.start(spec, 0)
    await eventually(lambda: ready(rig, spec))
    if reopened:
        await rig.close()
    shutil.rmtree(rig.root)
    if reopened:
        await rig.open()
    seen = await rig.seen(spec)
    assert (seen.uid, seen.state) == (execution.uid, "running")
    assert (await rig.executor.start(spec, 0)).uid == execution.uid
    assert await rig.executor.stop(execution, 10.0) == "drained"
    again = await rig.executor.start(spec, 0)
    assert again.state == "running"


async def test_a_kept_one_whose_folder_was_deleted_is_gone(process_rig: ProcessRig):
    rig = process_rig
    spec = rig.spec()
    execution = await rig.executor.start(spec, 0)
    await rig.executor.stop(execution, 10.0)
    shutil.rmtree(rig.root / execution.name)
    assert (await rig.listing(spec)).executions == ()
    assert (await rig.executor.start(spec, 0)).state == "running"


async def test_a_second_one_under_a_name_is_listed_and_can_be_stopped(process_rig: ProcessRig):
    """Deciding stops all but the oldest; so both must be told."""
    rig = process_rig
    spec = rig.spec("orders", "puppet")
    first = await rig.executor.start(spec, 0)
    await eventually(lambda: ready(rig, spec))  # it has read its configuration, which goes away now
    await rig.close()
    (rig.root / first.name).rename(rig.root.parent / "away")
    folder = rig.folder / "state" / "executions"
    pids = set(rig.pids(first.name))
    # a controller that lost its folder, and does not look at /proc, starts a second one
    hidden = ProcessRig(rig.folder)
    hidden.configs = rig.configs
    executor = hidden.make()
    executor._stock._take = _take_nothing  # type: ignore[attr-defined]
    async with executor:
        second = await executor.start(spec, 0)
    assert second.uid != first.uid
    assert pids < set(rig.pids(first.name))
    await rig.open()
    listed = (await rig.listing(spec)).executions
    assert {e.uid for e in listed} == {first.uid, second.uid}
    assert await rig.executor.stop(first, 10.0) == "drained"
    assert [e.uid for e in (await rig.listing(spec)).executions] == [second.uid]
    assert folder.exists()


async def _take_nothing(changed: set[str], *, look_at_processes: bool) -> None:
    return


# ---- full disks


@pytest.mark.fault(60)
async def test_what_runs_can_be_stopped_on_a_full_disk(process_rig: ProcessRig):
    """Row 60."""
    rig = process_rig
    spec = rig.spec()
    execution = await rig.executor.start(spec, 0)
    with capture_logs() as logs, disk_full():
        assert await rig.executor.stop(execution, 10.0) == "drained"
        seen = await rig.seen(spec)
    assert seen.exit is not None
    assert (seen.state, seen.exit.signalled) == ("stopped", True)
    assert {line["log_level"] for line in logs} == {"warning"}


@pytest.mark.fault(60)
async def test_a_start_on_a_full_disk_names_the_cause_and_leaves_what_was_kept(
    process_rig: ProcessRig,
):
    rig = process_rig
    spec = rig.spec()
    execution = await rig.executor.start(spec, 0)
    await rig.executor.stop(execution, 10.0)
    before = await rig.seen(spec)
    with capture_logs(), disk_full(), pytest.raises(StartFailed, match="File too large"):
        await rig.executor.start(spec, 0)
    assert await rig.seen(spec) == before
    await rig.reopen()
    assert await rig.seen(spec) == before
    assert (await rig.executor.start(spec, 0)).state == "running"


async def test_what_can_t_be_spawned_names_the_cause(process_rig: ProcessRig, tmp_path):
    rig = process_rig
    long = rig.spec(env={"LONG": "x" * 200_000})
    with pytest.raises(StartFailed, match="Argument list too long"):
        await rig.executor.start(long, 0)
    assert (await rig.seen(long)).state == "prepared"
    nowhere = rig.spec(executor_options={"workdir": str(tmp_path / "nowhere")})
    with pytest.raises(StartFailed, match="nowhere"):
        await rig.executor.start(nowhere, 0)
    (tmp_path / "nowhere").mkdir()
    assert (await rig.executor.start(nowhere, 0)).state == "running"


# ---- shared


@pytest.mark.fault(88)
async def test_the_folder_of_another_owner_is_left_alone(process_rig: ProcessRig):
    """Row 88: two installations, one state folder; also what is on its way in or out."""
    rig = process_rig
    other = Owner("ns", f"two-{rig.owner.installation}")
    spec = rig.spec()
    name = (await rig.executor.start(spec, 0)).name
    theirs = rig.root / f"{hidden_prefix(other)}being-made"
    theirs.mkdir()
    await rig.reopen()
    assert theirs.exists()
    async with rig.other(other):
        assert not theirs.exists()
        assert (rig.root / name).exists()


@pytest.mark.fault(32)
async def test_a_folder_of_our_name_with_another_owner_in_it_is_a_conflict(process_rig: ProcessRig):
    rig = process_rig
    spec = rig.spec()
    await rig.executor.prepare(spec, 0)
    name = (await rig.seen(spec)).name
    await rig.close()
    file = rig.root / name / "handle.json"
    handle = json.loads(file.read_text())
    handle["owner"]["installation"] = "two"
    file.write_text(json.dumps(handle))
    await rig.open()
    with pytest.raises(NameConflict):
        await rig.executor.start(spec, 0)
    assert json.loads(file.read_text()) == handle


def test_a_place_is_the_same_over_restarts_and_never_shows_the_machine_id(tmp_path):
    machine = tmp_path / "machine-id"
    machine.write_text("0123456789abcdef0123456789abcdef\n")
    one = place.place_of(tmp_path / "a", machine)
    assert one == place.place_of(tmp_path / "b", machine)
    assert one not in machine.read_text()
    machine.write_text("uninitialized\n")
    random = place.place_of(tmp_path / "a", machine)
    assert random == place.place_of(tmp_path / "a", machine)
    assert random != place.place_of(tmp_path / "b", machine)
    assert os.listdir(tmp_path / "a") == ["place"]
