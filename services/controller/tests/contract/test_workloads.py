"""contract.py, of executors whose platform does the replicas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from nexthos_controller.execution import Owner
from nexthos_shared.errors import (
    ConfigChanged,
    ConfigMissing,
    ConfigUnavailable,
    ExecutorUnreachable,
    NameConflict,
    NexthosError,
    StartFailed,
    StoreUnavailable,
)
from nexthos_testing.rig import SECRET
from nexthos_testing.wait import eventually
from nexthos_testing.workload_rig import FakeWorkloadRig

PLATFORMS = {"fake": FakeWorkloadRig}


@pytest.fixture(params=sorted(PLATFORMS))
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[FakeWorkloadRig]:
    async with PLATFORMS[request.param](tmp_path) as rig:
        yield rig


async def test_what_is_applied_runs_with_its_replicas_and_says_what_it_was_made_from(
    rig: FakeWorkloadRig,
) -> None:
    """> An executor whose platform does replicas, rolling updates and restarts by itself.
    > What a platform should run by itself: replicas, rolling updates and restarts are its own.
    > One workload as its place knows it at this moment.
    """
    workload = rig.workload(3)
    await rig.executor.apply(workload)
    state = await rig.seen()
    assert state is not None
    assert (state.replicas, state.spec_hash, state.digest, state.revision, state.kind) == (
        3,
        workload.spec.spec_hash,
        workload.spec.digest,
        workload.spec.revision,
        "service",
    )
    assert state.place in (await rig.executor.list()).places
    await eventually(lambda: rig.running() == 3)


async def test_applied_again_it_is_the_same_life_and_changed_it_is_changed_in_place(
    rig: FakeWorkloadRig,
) -> None:
    """> Have the platform run it so: create it, or change what is there of this pipeline and kind.
    > Idempotent.
    """
    await rig.executor.apply(rig.workload(1))
    first = await rig.seen()
    await rig.executor.apply(rig.workload(1))
    assert await rig.seen() == first
    await rig.executor.apply(rig.workload(2, env={"A": "1"}))
    changed = await rig.seen()
    assert first is not None
    assert changed is not None
    assert changed.uid == first.uid
    assert (changed.spec_hash != first.spec_hash, changed.replicas) == (True, 2)
    await eventually(lambda: rig.running() == 2)


async def test_it_returns_when_it_is_accepted_and_without_replicas_nothing_runs(
    rig: FakeWorkloadRig,
) -> None:
    """> Returns when the platform has accepted it, not when it is ready; 0 replicas pause it (a job is
    suspended).
    """
    rig.platform.faults.late = True
    await rig.executor.apply(rig.workload(1))
    state = await rig.seen()
    assert state is not None
    assert state.state == "progressing"
    rig.platform.faults.late = False
    rig.platform.catch_up()
    for kind in ("service", "job"):
        workload = rig.workload(1, lifecycle=kind, pipeline_id=kind)
        await rig.executor.apply(workload)
        await rig.executor.apply(replace(workload, replicas=0))
        await eventually(partial(none_runs, rig, kind))
        kept = await rig.seen(kind)
        assert kept is not None
        assert (kept.replicas, kept.kind) == (0, kind)


def none_runs(rig: FakeWorkloadRig, kind: str) -> bool:
    return rig.running(kind) == 0


async def test_its_bytes_go_with_it(rig: FakeWorkloadRig) -> None:
    """> The bytes of `spec.digest` go with it: what runs asks nobody for them."""
    workload = rig.workload()
    await rig.executor.apply(workload)
    assert rig.given.fetches == [workload.spec.digest]
    [deployed] = rig.platform.deployed.values()
    assert deployed.content == rig.given.configs[workload.spec.digest]


async def test_what_can_not_be_applied_is_named_and_leaves_what_runs_as_it_is(
    rig: FakeWorkloadRig,
) -> None:
    """> Raises NameConflict if something that is not ours has the name; ConfigMissing, ConfigChanged,
    ConfigUnavailable from `fetch`; CannotRunHere, StartFailed.
    """
    await rig.executor.apply(rig.workload(1))
    before = await rig.seen()
    other = rig.workload(2, env={"A": "1"})
    errors: list[NexthosError] = [
        ConfigMissing("gone"),
        ConfigChanged("another"),
        ConfigUnavailable("away"),
    ]
    for error in errors:
        rig.given.fetch_error = error
        with pytest.raises(type(error)):
            await rig.executor.apply(other)
    rig.given.fetch_error = None
    rig.platform.faults.refuse = True
    with pytest.raises(StartFailed):
        await rig.executor.apply(other)
    rig.platform.faults.refuse = False
    assert await rig.seen() == before
    taken = rig.workload(1, pipeline_id="taken")
    rig.occupy(rig.name(taken.spec))
    with pytest.raises(NameConflict):
        await rig.executor.apply(taken)


async def test_what_is_deleted_drains_and_is_deleting_until_its_place_answers_without_it(
    rig: FakeWorkloadRig,
) -> None:
    """> Have that life of it removed, with all that belongs to it; its replicas drain first.
    > Returns when the platform was asked: it is `deleting` until its place answers without it.
    """
    rig.platform.faults.slow = True
    await rig.executor.apply(rig.workload(1))
    state = await rig.seen()
    assert state is not None
    await rig.executor.delete(state)
    deleting = await rig.seen()
    assert deleting is not None
    assert deleting.state == "deleting"
    await rig.executor.delete(deleting)
    rig.platform.drained()
    assert await rig.seen() is None
    assert rig.running() == 0


async def test_another_life_under_the_name_is_left_alone(rig: FakeWorkloadRig) -> None:
    """> If another uid lives under that name, or nothing does, nothing is done."""
    await rig.executor.apply(rig.workload(1))
    first = await rig.seen()
    assert first is not None
    await rig.executor.delete(first)
    await rig.executor.delete(first)
    await rig.executor.apply(rig.workload(1))
    second = await rig.seen()
    await rig.executor.delete(first)
    assert second is not None
    assert second.uid != first.uid
    assert await rig.seen() == second


async def test_another_owners_workload_is_not_listed_changed_or_deleted(
    rig: FakeWorkloadRig,
) -> None:
    await rig.executor.apply(rig.workload(1))
    mine = await rig.seen()
    assert mine is not None
    async with rig.other(Owner("ns", "two")) as other:
        assert (await other.list()).workloads == ()
        await other.delete(mine)
        assert await rig.seen() == mine


async def test_a_place_that_does_not_answer_is_told_and_nothing_is_done_there(
    rig: FakeWorkloadRig,
) -> None:
    await rig.executor.apply(rig.workload(1))
    state = await rig.seen()
    assert state is not None
    rig.platform.faults.silent = {rig.platform.place}
    calls = (
        rig.executor.list(),
        rig.executor.find("orders"),
        rig.executor.apply(rig.workload(2)),
        rig.executor.delete(state),
    )
    for call in calls:
        with pytest.raises(ExecutorUnreachable):
            await call
    rig.platform.faults.silent = set()
    assert await rig.seen() == state


async def test_whoever_may_not_act_any_more_changes_nothing(rig: FakeWorkloadRig) -> None:
    await rig.executor.apply(rig.workload(1))
    before = await rig.seen()
    assert before is not None
    rig.given.let_guard_pass(0)
    with pytest.raises(StoreUnavailable):
        await rig.executor.apply(rig.workload(2))
    with pytest.raises(StoreUnavailable):
        await rig.executor.delete(before)
    assert await rig.seen() == before


async def test_what_somebody_else_changed_is_told(rig: FakeWorkloadRig) -> None:
    await rig.executor.apply(rig.workload(1))
    rig.platform.meddle("orders", 4)
    state = await rig.seen()
    assert state is not None
    assert state.altered
    await rig.executor.apply(rig.workload(1))
    state = await rig.seen()
    assert state is not None
    assert (state.altered, state.replicas) == ("", 1)


async def test_its_executions_are_read_only_and_say_where_they_run(rig: FakeWorkloadRig) -> None:
    """> The executions of a workload are read only: logs and metrics are asked of them, and nothing
    else.
    """
    await rig.executor.apply(rig.workload(2))
    executions = (await rig.executor.find("orders")).executions
    assert [e.replica for e in executions] == [0, 1]
    assert len({e.uid for e in executions}) == 2
    lines = [line async for line in rig.executor.logs(executions[0])]
    assert lines
    assert await rig.executor.metrics(executions[0])


async def test_a_change_is_hinted_at(rig: FakeWorkloadRig) -> None:
    heard: list[str] = []

    async def listen() -> None:
        async for key in rig.executor.events():
            heard.append(key)

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0)
    await rig.executor.apply(rig.workload(1))
    await eventually(lambda: "orders" in heard)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def test_nothing_secret_stands_in_what_others_may_read(rig: FakeWorkloadRig) -> None:
    await rig.executor.apply(rig.workload(1, env={"TOKEN": SECRET}))
    assert SECRET not in rig.shown()
