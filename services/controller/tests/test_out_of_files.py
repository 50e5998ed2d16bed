"""A controller with too few open files looks, stops and tells; nothing is lost and nothing started twice."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from nexthos_controller.execution import Owner
from nexthos_controller.executors.local import deaths, processes, shim
from nexthos_controller.executors.shared.open_files import has_room
from nexthos_controller.executors.shared.probe import Asked, Verdict
from nexthos_controller.executors.streams import endings
from nexthos_controller.executors.streams.host import new_handle
from nexthos_controller.executors.streams.hosts import Host
from nexthos_shared.errors import ExecutorUnreachable, StartFailed
from nexthos_testing.open_files import open_files_left
from nexthos_testing.process_rig import ProcessRig
from nexthos_testing.rig import Rig
from nexthos_testing.wait import eventually

ADVICE = "too many open files: raise the limit of open files"
pytestmark = pytest.mark.fault(145)


@pytest.fixture(params=["process_rig", "streams_rig"])
def rig(request: pytest.FixtureRequest) -> Rig:
    """Each executor of this machine in turn."""
    found: Rig = request.getfixturevalue(request.param)
    return found


def test_a_quarter_of_them_is_kept_free() -> None:
    assert has_room()
    with open_files_left(4):
        assert not has_room()
        os.close(os.dup(0))  # what is kept can be used
    with open_files_left(0):
        assert not has_room()
    assert has_room()


async def test_without_room_nothing_is_started_and_it_is_once_there_is(rig: Rig) -> None:
    spec = rig.spec()
    await rig.executor.prepare(spec, 0)
    with open_files_left(5):
        with pytest.raises(StartFailed, match=ADVICE):
            await rig.executor.start(spec, 0)
        assert (await rig.seen(spec)).state == "prepared"
    execution = await rig.executor.start(spec, 0)
    assert rig.alive(execution.name) == 1


async def test_without_room_what_runs_can_be_listed_stopped_and_removed(
    process_rig: ProcessRig,
) -> None:
    rig = process_rig
    execution = await rig.executor.start(rig.spec(), 0)
    with open_files_left(5):
        assert [e.uid for e in (await rig.executor.list()).executions] == [execution.uid]
        assert await rig.executor.stop(execution, 10.0) == "drained"
        await rig.executor.remove(execution)
        assert (await rig.executor.list()).executions == ()
    assert rig.traces(execution.name) == []


async def test_with_no_file_left_what_runs_is_not_gone(process_rig: ProcessRig) -> None:
    rig = process_rig
    execution = await rig.executor.start(rig.spec(), 0)
    (rig.root / "news").mkdir()  # so that folders and processes must be looked at
    with open_files_left(0):
        with pytest.raises(ExecutorUnreachable, match=ADVICE):
            await rig.executor.find("orders")
        with pytest.raises((StartFailed, ExecutorUnreachable)):
            await rig.executor.start(rig.spec(), 0)
    assert (await rig.seen(rig.spec())).uid == execution.uid
    assert rig.alive(execution.name) == 1


async def test_with_no_file_left_nothing_is_adopted_and_nothing_ended(rig: Rig) -> None:
    spec = rig.spec()
    execution = await rig.executor.start(spec, 0)
    await rig.close()
    with open_files_left(0), pytest.raises(ExecutorUnreachable, match=ADVICE):
        await rig.open()
    await rig.open()
    assert (await rig.seen(spec)).uid == execution.uid
    assert rig.alive(execution.name) == 1


async def test_an_end_is_noted_as_it_was_once_files_can_be_opened(
    process_rig: ProcessRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deaths, "LOOK_EVERY", 0.05)
    rig = process_rig
    spec = rig.spec("orders", "puppet")
    execution = await rig.executor.start(spec, 0)
    await eventually(lambda: ready(rig, spec))
    orders = (rig.root / execution.name / "orders").open("a")
    with orders, open_files_left(0), monkeypatch.context() as patch:
        looks = take_what_a_death_frees(patch)
        orders.write("exit 3\n")
        orders.flush()
        await eventually(lambda: looks.count(0) >= 2)
        assert (await rig.seen(spec)).state == "running"
    for held in filter(None, looks):
        os.close(held)

    async def ended() -> bool:
        return (await rig.seen(spec)).state == "stopped"

    await eventually(ended)
    exit = (await rig.seen(spec)).exit
    assert exit is not None
    assert exit.code == 3


async def ready(rig: Rig, spec) -> bool:
    return bool((await rig.seen(spec)).ready)


def take_what_a_death_frees(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Before each look at processes all that is free is taken, such as its pidfd; 0: there was none."""
    looks: list[int] = []
    members = processes.members

    def noted(*given):
        try:
            while True:
                looks.append(os.dup(0))
        except OSError:
            looks.append(0)
        return members(*given)

    monkeypatch.setattr(deaths, "members", noted)
    return looks


async def test_what_can_not_be_told_from_others_after_its_start_is_ended(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = rig.spec()
    await rig.executor.prepare(spec, 0)

    def unreadable(pid: int) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(shim, "process", unreadable)
        with pytest.raises(StartFailed, match=ADVICE):
            await rig.executor.start(spec, 0)
    execution = await rig.executor.start(spec, 0)
    assert rig.alive(execution.name) == 1


def test_who_can_not_be_asked_is_not_ready_for_that_cause() -> None:
    verdict = Verdict(Asked("http://127.0.0.1:1", "token", {}))
    verdict.take("ready", "")
    assert verdict.take(None, "")
    assert verdict.ready is None
    assert verdict.problem is not None
    assert ADVICE in verdict.problem.message
    again = Verdict(Asked("http://127.0.0.1:1", "token", {}))
    again.take(None, "")
    assert again.take("ready", "")
    assert again.problem is None


async def test_an_engine_beyond_the_room_is_not_asked(process_rig: ProcessRig) -> None:
    rig = process_rig
    spec = rig.spec("orders", "puppet", config={"ready": False})
    await rig.executor.start(spec, 0)
    await rig.close()
    with open_files_left(5):
        await rig.open()

        async def told() -> bool:
            problem = (await rig.seen(spec)).problem
            return problem is not None and ADVICE in problem.message

        await eventually(told)

    async def asked() -> bool:
        return (await rig.seen(spec)).ready is False

    await eventually(asked)


@pytest.mark.parametrize(("said", "told"), [("accept4: too many open files", True), ("", False)])
def test_a_host_that_was_silent_for_want_of_files_is_told_so(
    tmp_path: Path, said: str, told: bool
) -> None:
    handle = new_handle(Owner("ns", "one"), 1, "engine", 1, 0, 0.0)
    host = Host(handle, tmp_path)
    host.errors.write_text(f"2026/11/30 http: Accept error: {said}; retrying in 1s\n")
    exit = endings._hung(host)
    assert exit.problem is not None
    assert exit.problem.message.startswith("did not answer any more, and was killed")
    assert (ADVICE in exit.problem.message) is told
