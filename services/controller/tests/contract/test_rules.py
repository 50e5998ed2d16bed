"""contract.py, "Rules for all methods" and "An execution's life". Each test quotes what it proves."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from structlog.testing import capture_logs

from nexthos_controller.execution import Execution, Owner, Spec
from nexthos_controller.executors.fake import FakeExecutor, FakeWorld
from nexthos_shared.errors import (
    ConfigMissing,
    ConfigUnavailable,
    ExecutorUnreachable,
    NexthosError,
    StoreUnavailable,
    TemporaryError,
    TerminalError,
)
from nexthos_testing.fake_rig import FakeRig
from nexthos_testing.rig import SECRET, Rig
from nexthos_testing.wait import eventually


@pytest.mark.fault(88)
async def test_another_installations_execution_is_neither_seen_nor_touched(rig: Rig):
    """> Only what carries our owner label (namespace + installation) is ever touched.
    > Another installation's executions are not listed.
    > Who owns an execution: one installation of one namespace.
    > What runs here of our namespace and of another installation, as far as it can be seen.
    > It is told and nothing else: a store that came back empty is another installation.
    > Something that runs of our namespace, and of another installation: not ours to touch.
    """
    mine = await rig.executor.start(rig.spec(), 0)
    for owner in (Owner("ns", "two"), Owner("other", "one")):
        async with rig.other(owner) as other:
            assert (await other.list()).executions == ()
            assert (await other.find(mine.id)).executions == ()
            told = {s.installation for s in await other.strangers()}
            assert (rig.owner.installation in told) is (owner.namespace == "ns")
            assert await other.stop(mine, 1.0) == "drained"
            await other.remove(mine)
            theirs = await other.start(rig.spec(), 0)
            assert theirs.name != mine.name
            assert [e.uid for e in (await other.list()).executions] == [theirs.uid]
            assert await other.stop(theirs, 5.0) == "drained"
            await other.remove((await other.list()).executions[0])
    assert rig.alive(mine.name) == 1
    assert [e.uid for e in (await rig.executor.list()).executions] == [mine.uid]


async def test_what_is_listed_lives_at_a_place_that_answered(rig: Rig):
    """> Absence is never proof: an execution is gone when the place where it lived answered without it.
    > Executions and workloads, and the places that answered in full: what is not listed is not *there*.
    """
    execution = await rig.executor.start(rig.spec(), 0)
    listing = await rig.executor.list()
    assert execution.place in listing.places
    assert {e.place for e in listing.executions} <= listing.places
    await rig.executor.stop(execution, 5.0)
    await rig.executor.remove(await rig.seen(rig.spec()))
    after = await rig.executor.find(execution.id)
    assert after.executions == ()
    assert execution.place in after.places


@pytest.mark.fault(29)
async def test_a_silent_place_is_not_among_the_places(fake_rig: FakeRig):
    """> A place that did not answer is not in `Listing.places`.
    > A place that answers only in part is not among `places`.
    """
    world = FakeWorld(places=("here", "there"))
    async with FakeExecutor(fake_rig.context(), world) as executor:
        execution = await executor.start(fake_rig.spec(), 0)
        world.faults.silent = {execution.place}
        listing = await executor.list()
        assert listing.executions == ()
        assert listing.places == {"there"}


async def test_a_name_follows_from_spec_and_replica(rig: Rig):
    """> Names are deterministic: the same spec and replica give the same name, so a call repeated
    after a crash finds what the first one made.
    > Two specs with equal `spec_hash` are the same.
    > What shapes an execution.
    """
    await rig.executor.prepare(rig.spec(), 0)
    prepared = await rig.seen(rig.spec())
    await rig.reopen()
    first = await rig.executor.start(rig.spec(), 0)
    assert first.name == prepared.name
    await rig.reopen()
    again = await rig.executor.start(rig.spec(revision=7), 0)
    assert (again.name, again.uid) == (first.name, first.uid)
    assert rig.alive(first.name) == 1
    others = [
        await rig.executor.start(rig.spec(), 1),
        await rig.executor.start(rig.spec("orders-2"), 0),
        await rig.executor.start(rig.spec(env={"A": "1"}), 0),
    ]
    assert len({first.name, *(e.name for e in others)}) == 4


async def test_names_are_never_parsed(rig: Rig):
    """> Names are never parsed; labels decide."""
    ids = ["a", "a-0", "a-0-b", "0", "a-1-deadbeef"]
    for pipeline_id in ids:
        await rig.executor.prepare(rig.spec(pipeline_id), 0)
    await rig.reopen()
    for pipeline_id in ids:
        assert [e.id for e in (await rig.executor.find(pipeline_id)).executions] == [pipeline_id]
    assert sorted(e.id for e in (await rig.executor.list()).executions) == sorted(ids)


async def test_no_value_of_a_variable_is_shown(rig: Rig):
    """> Nothing secret stands in names, labels, argv or logs."""
    spec = rig.spec("orders", "puppet", env={"PASSWORD": SECRET})
    with capture_logs() as logs:
        execution = await rig.executor.start(spec, 0)
        await eventually(lambda: is_ready(rig, spec))
        assert SECRET not in repr(await rig.executor.list())
        assert SECRET not in rig.shown(execution)
        rig.finish(execution, 3)
        stopped = await eventually(lambda: has_ended(rig, spec))
        await rig.executor.remove(stopped)
    assert SECRET not in repr(stopped) + repr(logs)


@pytest.mark.parametrize("method", ["prepare", "start"])
async def test_a_call_cancelled_at_any_await_is_healed_by_the_next(rig: Rig, method: str):
    """> A call may be cancelled at any await; the next call heals what was left half done."""
    for turns in range(24):
        spec = rig.spec(f"orders-{turns}")
        call = asyncio.ensure_future(getattr(rig.executor, method)(spec, 0))
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
        execution = await started(rig, spec)
        assert rig.alive(execution.name) == 1
        # Either will do: PID 1 of a container ignores SIGTERM until the runner takes it, a moment later.
        assert await rig.executor.stop(execution, 5.0) in ("drained", "killed")
        await rig.executor.remove(await rig.seen(spec))
        assert rig.traces(execution.name) == []


async def started(rig: Rig, spec: Spec) -> Execution:
    """Started again until it runs: what a cancelled call left is ended first, and that may take a moment."""
    async with asyncio.timeout(20.0):
        while True:
            try:
                return await rig.executor.start(spec, 0)
            except ExecutorUnreachable:
                await asyncio.sleep(0.05)


async def test_errors_are_those_of_the_one_tree(rig: Rig):
    """> Errors are those of `nexthos_shared.errors`: TemporaryError (tried again), TerminalError (told
    to the user).
    > Another exception is a defect of the executor.
    """
    rig.fetch_error = ConfigUnavailable("not now")
    with pytest.raises(TemporaryError):
        await rig.executor.start(rig.spec(), 0)
    rig.fetch_error = ConfigMissing("not there")
    with pytest.raises(TerminalError):
        await rig.executor.start(rig.spec(), 0)
    rig.fetch_error = None
    with rig.unreachable():
        for call in (rig.executor.list(), rig.executor.find("orders")):
            with pytest.raises(NexthosError):
                await call
    with rig.refusing(), pytest.raises(TemporaryError):
        await rig.executor.start(rig.spec(), 0)


async def test_nothing_is_done_when_the_guard_refuses(rig: Rig):
    """> `guard()` of the context is called before each effect, and again before a SIGKILL: it raises
    when this controller may no longer act, and then nothing more is done.
    """
    spec = rig.spec("orders", "stubborn")
    rig.let_guard_pass(0)
    for call in (rig.executor.prepare, rig.executor.start):
        with pytest.raises(StoreUnavailable):
            await call(spec, 0)
    assert (await rig.listing(spec)).executions == ()
    rig.let_guard_pass(None)
    execution = await rig.executor.start(spec, 0)
    await eventually(lambda: is_ready(rig, spec))
    rig.let_guard_pass(0)
    with pytest.raises(StoreUnavailable):
        await rig.executor.stop(execution, 0.0)
    rig.let_guard_pass(1)  # SIGTERM passes, SIGKILL does not
    with pytest.raises(StoreUnavailable):
        await rig.executor.stop(execution, 0.05)
    assert rig.alive(execution.name) == 1
    rig.let_guard_pass(None)
    assert await rig.executor.stop(execution, 0.0) == "killed"
    rig.let_guard_pass(0)
    with pytest.raises(StoreUnavailable):
        await rig.executor.remove(await rig.seen(spec))
    assert rig.traces(execution.name) != []


async def test_a_life_leads_from_prepared_over_running_to_stopped_and_a_new_life_begins(rig: Rig):
    """> An execution's life (nothing) --prepare--> prepared --start--> running --(ends)--> stopped
    --start--> running ... remove leads from prepared or stopped to nothing.
    > A state never goes backwards within one uid.
    > One execution as its place knows it at this moment.
    """
    spec = rig.spec("orders", "puppet")
    await rig.executor.prepare(spec, 0)
    prepared = await rig.seen(spec)
    assert (prepared.state, prepared.uid, prepared.exit, prepared.started_at) == (
        "prepared",
        "",
        None,
        None,
    )
    first = await rig.executor.start(spec, 0)
    assert (first.state, first.exit) == ("running", None)
    assert first.uid
    assert first.started_at is not None
    assert first.endpoint is not None
    ready = await eventually(lambda: is_ready(rig, spec))
    assert ready.uid == first.uid
    rig.finish(first, 3)
    stopped = await eventually(lambda: has_ended(rig, spec))
    assert (stopped.uid, stopped.endpoint) == (first.uid, None)
    second = await rig.executor.start(spec, 0)
    assert second.state == "running"
    assert second.uid != first.uid
    assert await rig.executor.stop(second, 5.0) == "drained"
    await rig.executor.remove(await rig.seen(spec))
    await rig.executor.prepare(spec, 0)
    await rig.executor.remove(await rig.seen(spec))
    assert (await rig.listing(spec)).executions == ()


async def test_labels_come_back_as_they_were_given(rig: Rig):
    """> Names are never parsed; labels decide."""
    spec = rig.spec(revision=42)
    await rig.executor.start(spec, 3)
    await rig.reopen()
    seen = await rig.seen(spec, 3)
    assert (seen.id, seen.replica, seen.spec_hash, seen.revision, seen.digest, seen.executor) == (
        spec.id,
        3,
        spec.spec_hash,
        42,
        spec.digest,
        rig.kind,
    )


async def is_ready(rig: Rig, spec):
    seen = await rig.seen(spec)
    return seen if seen.ready else None


async def has_ended(rig: Rig, spec):
    seen = await rig.seen(spec)
    return seen if seen.state == "stopped" else None
