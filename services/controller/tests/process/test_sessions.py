"""The session of a process execution: who belongs to it, who is never mistaken for it, how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from nexthos_controller.executors.local import deaths
from nexthos_controller.executors.local.processes import process
from nexthos_shared.reasons import Reason
from nexthos_testing.process_rig import ProcessRig, leader
from nexthos_testing.wait import eventually


async def ready(rig, spec):
    seen = await rig.seen(spec)
    return seen if seen.ready else None


async def ended(rig, spec):
    seen = await rig.seen(spec)
    return seen if seen.state == "stopped" else None


async def started(rig: ProcessRig, **config):
    spec = rig.spec("orders", "puppet", config=config)
    execution = await rig.executor.start(spec, 0)
    if config.get("http", True):
        await eventually(lambda: ready(rig, spec))
    return spec, execution


def engine_of(rig: ProcessRig, execution) -> int:
    """The engine's own PID."""
    [pid] = [p for p in rig.pids(execution.name) if p != leader(execution)]
    return pid


def ticks_of(pid: int) -> int:
    found = process(pid)
    assert found is not None
    return found.ticks


def is_dead(pid: int) -> bool:
    found = process(pid)
    return found is not None and found.dead


@pytest.mark.fault(39, 40)
@pytest.mark.parametrize("how", ["group", "away"])
async def test_a_child_that_forks_away_is_ended_with_the_rest(process_rig: ProcessRig, how):
    """Rows 39 and 40: in the group, or in a group of its own within the session."""
    rig = process_rig
    spec, execution = await started(rig, fork=how)
    assert len(rig.pids(execution.name)) == 3
    assert await rig.executor.stop(execution, 0.3) == "killed"  # the child ignores SIGTERM
    assert rig.pids(execution.name) == {}
    assert (await rig.seen(spec)).state == "stopped"


@pytest.mark.parametrize("how", ["group", "away"])
async def test_it_runs_while_any_of_its_processes_lives(process_rig: ProcessRig, how):
    rig = process_rig
    spec, execution = await started(rig, fork=how)
    rig.finish(execution, 0)
    await eventually(lambda: len(rig.pids(execution.name)) == 1)
    for _ in range(2):
        assert (await rig.seen(spec)).state == "running"
        await rig.reopen()
    [child] = rig.pids(execution.name)
    os.kill(child, signal.SIGKILL)
    seen = await eventually(lambda: ended(rig, spec))
    assert (seen.uid, seen.exit.code) == (execution.uid, 0)


async def test_an_engine_whose_shim_was_killed_runs_on_and_can_be_stopped(process_rig: ProcessRig):
    rig = process_rig
    spec, execution = await started(rig)
    os.kill(leader(execution), signal.SIGKILL)
    await eventually(lambda: len(rig.pids(execution.name)) == 1)
    for _ in range(2):
        seen = await rig.seen(spec)
        assert (seen.uid, seen.state) == (execution.uid, "running")
        assert (await rig.executor.start(spec, 0)).uid == execution.uid
        await rig.reopen()
    assert await rig.executor.stop(execution, 10.0) == "drained"
    assert rig.pids(execution.name) == {}


async def test_an_engine_killed_alone_is_killed_and_one_terminated_alone_was_asked(
    process_rig: ProcessRig,
):
    rig = process_rig
    spec, execution = await started(rig)
    os.kill(engine_of(rig, execution), signal.SIGKILL)
    seen = await eventually(lambda: ended(rig, spec))
    assert (seen.exit.code, seen.exit.signalled) == (137, False)
    assert seen.exit.problem.reason is Reason.KILLED
    real = rig.spec("real")
    execution = await rig.executor.start(real, 0)
    await eventually(lambda: ready(rig, real))
    os.kill(engine_of(rig, execution), signal.SIGTERM)
    seen = await eventually(lambda: ended(rig, real))
    assert (seen.exit.code, seen.exit.signalled) == (0, True)


@pytest.mark.fault(41)
@pytest.mark.parametrize("offset", [-1000, 1000])
async def test_a_reused_pid_is_never_mistaken_for_ours(process_rig: ProcessRig, offset):
    """Row 41: a stranger has the PID that the handle names; only the start time tells."""
    rig = process_rig
    spec, execution = await started(rig)
    await rig.executor.stop(execution, 5.0)
    await rig.close()
    stranger = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
    try:
        file = rig.root / execution.name / "handle.json"
        handle = json.loads(file.read_text())
        handle["life"]["pid"] = stranger.pid
        handle["life"]["ticks"] = ticks_of(stranger.pid) + offset
        handle["life"]["exit"] = None
        file.write_text(json.dumps(handle))
        await rig.open()
        seen = await eventually(lambda: ended(rig, spec))
        assert await rig.executor.stop(seen, 0.0) == "drained"
        assert stranger.returncode is None
        again = await rig.executor.start(spec, 0)
        assert await rig.executor.stop(again, 5.0) == "drained"
        assert stranger.returncode is None
    finally:
        stranger.kill()
        await stranger.wait()


@pytest.mark.fault(41)
async def test_another_boot_is_another_life(process_rig: ProcessRig):
    rig = process_rig
    spec, execution = await started(rig)
    await rig.executor.stop(execution, 5.0)
    await rig.close()
    file = rig.root / execution.name / "handle.json"
    handle = json.loads(file.read_text())
    handle["life"] |= {"pid": os.getpid(), "ticks": ticks_of(os.getpid()), "boot": "0" * 8}
    handle["life"]["exit"] = None
    file.write_text(json.dumps(handle))
    await rig.open()
    assert (await rig.seen(spec)).state == "stopped"


async def test_a_stop_right_after_a_start_drains(process_rig: ProcessRig):
    """A SIGTERM between the shim's fork and its exec was lost, and the stop took the whole grace."""
    rig = process_rig
    for number in range(20):
        spec = rig.spec(f"orders-{number}")
        execution = await rig.executor.start(spec, 0)
        assert await rig.executor.stop(execution, 5.0) == "drained"


async def test_no_zombie_is_left(process_rig: ProcessRig):
    rig = process_rig
    spec, execution = await started(rig, fork="away")
    await rig.executor.stop(execution, 0.0)
    assert process(leader(execution)) is None
    spec, execution = await started(rig)
    await rig.close()
    rig.kill(execution)
    await eventually(lambda: is_dead(leader(execution)))
    await rig.open()
    assert (await rig.seen(spec)).state == "stopped"
    assert process(leader(execution)) is None


async def test_ends_are_seen_without_pidfds_too(process_rig: ProcessRig, monkeypatch):
    def refused(pid: int) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", refused)
    monkeypatch.setattr(deaths, "LOOK_EVERY", 0.05)
    rig = process_rig
    spec, execution = await started(rig)
    rig.finish(execution, 3)
    assert (await eventually(lambda: ended(rig, spec))).exit.code == 3


async def test_many_deaths_at_once_are_all_seen(process_rig: ProcessRig):
    rig = process_rig
    specs = [rig.spec(f"orders-{n}", "puppet", config={"http": False}) for n in range(30)]
    executions = await asyncio.gather(*(rig.executor.start(s, 0) for s in specs))
    for execution in executions:
        rig.kill(execution)

    async def all_ended():
        return all(e.state == "stopped" for e in (await rig.executor.list()).executions)

    await eventually(all_ended)


# ---- what the engine gets


async def test_the_engine_gets_its_environment_and_nothing_else(process_rig: ProcessRig):
    rig = process_rig
    spec = rig.spec("orders", "puppet", config={"env": True}, env={"GREETING": "hello"})
    execution = await rig.executor.start(spec, 1)
    [line] = await eventually(lambda: output(rig, execution))
    given = json.loads(line)
    given.pop("LC_CTYPE", None)  # Python sets it for itself
    kept = ("PATH", "HOME", "TZ", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR")
    assert given == {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "NATS_URL": "nats://127.0.0.1:1",
        "NEXTHOS_PIPELINE": "orders",
        "NEXTHOS_VERSION": "1",
        "NEXTHOS_REPLICA": "1",
        "GREETING": "hello",
    }


async def output(rig, execution):
    lines = [line.text async for line in rig.executor.logs(execution)]
    return [text for text in lines if text.startswith("{")]


async def test_the_engine_has_a_session_and_no_file_of_ours(process_rig: ProcessRig):
    rig = process_rig
    inherited = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(inherited, True)
    try:
        _, execution = await started(rig)
    finally:
        os.close(inherited)
    folder = rig.root / execution.name
    pid = engine_of(rig, execution)
    assert os.getsid(pid) == os.getpgid(pid) == leader(execution) != os.getsid(0)
    assert (Path(f"/proc/{pid}/fd/0")).readlink() == Path("/dev/null")
    for fd in (1, 2):
        assert (Path(f"/proc/{pid}/fd/{fd}")).readlink() == folder / "engine.log"
    links = {fd.readlink() for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.name not in "012"}
    assert not any(str(link).startswith("/") and "null" in str(link) for link in links)
    assert (Path(f"/proc/{pid}/cwd")).readlink() == folder
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {f.stat().st_mode & 0o777 for f in folder.iterdir()} == {0o600}


async def test_workdir_sets_the_working_folder(process_rig: ProcessRig, tmp_path):
    rig = process_rig
    (tmp_path / "project").mkdir()
    options = {"workdir": str(tmp_path / "project")}
    spec = rig.spec("orders", "puppet", executor_options=options)
    assert rig.executor.check(spec.definition) == []
    execution = await rig.executor.start(spec, 0)
    pid = await eventually(lambda: [p for p in rig.pids(execution.name) if p != leader(execution)])
    assert (Path(f"/proc/{pid[0]}/cwd")).readlink() == tmp_path / "project"


async def test_a_relative_workdir_is_refused(process_rig: ProcessRig):
    spec = process_rig.spec(executor_options={"workdir": "project"})
    [problem] = process_rig.executor.check(spec.definition)
    assert (problem.reason, problem.field) == (Reason.CANNOT_RUN_HERE, "executor_options.workdir")
