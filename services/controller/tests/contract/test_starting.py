"""base.py: prepare and start."""

from __future__ import annotations

import asyncio

import pytest

from nexthos_shared.errors import (
    ConfigChanged,
    ConfigMissing,
    ConfigUnavailable,
    NameConflict,
    StartFailed,
)
from nexthos_shared.names import execution_name
from nexthos_shared.reasons import Reason
from nexthos_testing.rig import Rig
from nexthos_testing.wait import eventually


def name_of(rig: Rig, spec, replica=0) -> str:
    owner = rig.owner
    return execution_name(owner.namespace, spec.id, replica, owner.installation, spec.spec_hash)


async def test_after_prepare_start_needs_nothing_from_the_store(rig: Rig):
    """> An executor of which we do the replicas: each is started, watched and started again by us.
    > Do all that can fail before an old execution is stopped: fetch, pull, create, auction.
    > After: `start` needs nothing from the store.
    > May do nothing at all.
    """
    await rig.executor.prepare(rig.spec(), 0)
    rig.fetch_error = ConfigUnavailable("the store is away")
    await rig.reopen()
    execution = await rig.executor.start(rig.spec(), 0)
    assert execution.state == "running"


async def test_a_second_prepare_does_nothing(rig: Rig):
    """> A second call does nothing.
    > What is already prepared, running or kept under that name is left as it is.
    """
    spec = rig.spec()
    await rig.executor.prepare(spec, 0)
    await rig.executor.prepare(spec, 0)
    assert len(rig.fetches) == 1
    running = await rig.executor.start(spec, 0)
    await rig.executor.prepare(spec, 0)
    assert (await rig.seen(spec)).uid == running.uid
    await rig.executor.stop(running, 5.0)
    stopped = await rig.seen(spec)
    await rig.executor.prepare(spec, 0)
    assert await rig.seen(spec) == stopped
    assert len(rig.fetches) == 1


@pytest.mark.fault(32)
@pytest.mark.parametrize("method", ["prepare", "start"])
async def test_what_is_not_ours_keeps_its_name(rig: Rig, method):
    """> Raises NameConflict if something that is not ours has the name; ConfigMissing, ConfigChanged,
    ConfigUnavailable from `fetch`; EngineMissing; StartFailed.
    > Errors as `prepare`.
    """
    spec = rig.spec()
    rig.occupy(name_of(rig, spec))
    with pytest.raises(NameConflict):
        await getattr(rig.executor, method)(spec, 0)
    assert rig.untouched(name_of(rig, spec))
    assert (await rig.listing(spec)).executions == ()


@pytest.mark.parametrize("method", ["prepare", "start"])
@pytest.mark.parametrize("error", [ConfigMissing, ConfigChanged, ConfigUnavailable])
async def test_what_the_store_says_comes_through(rig: Rig, method, error):
    """> Raises NameConflict if something that is not ours has the name; ConfigMissing, ConfigChanged,
    ConfigUnavailable from `fetch`; EngineMissing; StartFailed.
    """
    rig.fetch_error = error("so says the store")
    with pytest.raises(error):
        await getattr(rig.executor, method)(rig.spec(), 0)
    assert rig.traces(name_of(rig, rig.spec())) == []
    rig.fetch_error = None
    await getattr(rig.executor, method)(rig.spec(), 0)


@pytest.mark.parametrize("method", ["prepare", "start"])
async def test_a_missing_engine_is_told(rig: Rig, method):
    """> Raises NameConflict if something that is not ours has the name; ConfigMissing, ConfigChanged,
    ConfigUnavailable from `fetch`; EngineMissing; StartFailed.
    """
    rig.lose_engine()
    with pytest.raises(rig.engine_lost):
        await getattr(rig.executor, method)(rig.spec("orders", "puppet"), 0)


@pytest.mark.fault(60)
@pytest.mark.parametrize("method", ["prepare", "start"])
async def test_what_the_platform_refuses_is_temporary_and_heals(rig: Rig, method):
    """> Raises NameConflict if something that is not ours has the name; ConfigMissing, ConfigChanged,
    ConfigUnavailable from `fetch`; EngineMissing; StartFailed.
    """
    with rig.refusing(), pytest.raises(StartFailed):
        await getattr(rig.executor, method)(rig.spec(), 0)
    execution = await rig.executor.start(rig.spec(), 0)
    assert rig.alive(execution.name) == 1


async def test_start_makes_exactly_one_run(rig: Rig):
    """> Make it run.
    > After: exactly one execution of that name runs, or an error was raised.
    > Prepares what was not prepared.
    > One that runs already is returned as it is (same uid).
    """
    spec = rig.spec()
    started = await asyncio.gather(*(rig.executor.start(spec, 0) for _ in range(5)))
    assert len({e.uid for e in started}) == 1
    assert rig.alive(started[0].name) == 1
    again = await rig.executor.start(spec, 0)
    assert again.uid == started[0].uid
    assert rig.alive(again.name) == 1
    assert len(rig.fetches) == 1


async def test_start_does_not_wait_for_readiness(rig: Rig):
    """> Returns as soon as it runs, not when it is ready."""
    spec = rig.spec("orders", "disconnected")
    async with asyncio.timeout(5.0):
        execution = await rig.executor.start(spec, 0)
    assert execution.state == "running"
    assert execution.ready is not True


@pytest.mark.fault(86)
async def test_a_kept_one_is_resumed_with_its_own_bytes(rig: Rig):
    """> One that was kept is resumed in place, with the bytes that were kept with it; nothing is
    fetched while those are there and intact.
    """
    spec = rig.spec()
    first = await rig.executor.start(spec, 0)
    await eventually(lambda: ready(rig, spec))  # a container fetches its bytes itself
    await rig.executor.stop(first, 5.0)
    rig.fetch_error = ConfigChanged("overwritten")
    await rig.reopen()
    second = await rig.executor.start(spec, 0)
    assert (second.name, second.state, second.exit) == (first.name, "running", None)
    assert second.uid != first.uid
    assert len(rig.fetches) == 1


@pytest.mark.fault(86)
async def test_lost_bytes_are_fetched_anew_and_never_others(rig: Rig):
    """> One that was kept is resumed in place, with the bytes that were kept with it; nothing is
    fetched while those are there and intact.
    """
    spec = rig.spec()
    first = await rig.executor.start(spec, 0)
    await rig.executor.stop(first, 5.0)
    rig.damage(first)
    rig.fetch_error = ConfigChanged("overwritten")
    with pytest.raises(ConfigChanged):
        await rig.executor.start(spec, 0)
    assert rig.alive(first.name) == 0
    rig.fetch_error = None
    second = await rig.executor.start(spec, 0)
    assert second.state == "running"
    await eventually(lambda: ready(rig, spec))


@pytest.mark.fault(42)
async def test_not_connected_is_running_and_not_ready(rig: Rig):
    """> Ids to look at again: something started, became ready or unready, or ended."""
    spec = rig.spec("orders", "puppet")
    execution = await rig.executor.start(spec, 0)
    await eventually(lambda: ready(rig, spec))
    rig.connect(execution, False)

    async def unready():
        seen = await rig.seen(spec)
        return seen if seen.ready is False else None

    seen = await eventually(unready)
    assert (seen.state, seen.uid) == ("running", execution.uid)
    assert seen.problem is not None
    assert seen.problem.reason is Reason.NOT_CONNECTED
    rig.connect(execution, True)
    seen = await eventually(lambda: ready(rig, spec))
    assert seen.problem is None


async def ready(rig: Rig, spec):
    seen = await rig.seen(spec)
    return seen if seen.ready else None
