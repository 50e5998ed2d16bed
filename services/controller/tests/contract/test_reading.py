"""base.py: the context, opening and closing, check, list, find, self_managed."""

from __future__ import annotations

import pytest

from nexthos_controller.executors.contract import Connection
from nexthos_shared.errors import CannotRunHere, ExecutorUnreachable
from nexthos_shared.model import Pipeline
from nexthos_shared.reasons import Reason
from nexthos_testing.rig import UNFIT, Rig


async def test_leaving_the_executor_stops_nothing_and_opening_it_takes_up_what_runs(rig: Rig):
    """> `async with executor:` opens it; leaving it stops no execution.
    > Open connections and take up watching what already runs.
    > Release everything that was opened; executions live on.
    """
    spec = rig.spec()
    before = await rig.executor.start(spec, 0)
    await rig.close()
    assert rig.alive(before.name) == 1
    await rig.open()
    hints = rig.executor.events()
    after = await rig.seen(spec)
    assert (after.uid, after.started_at, after.state) == (before.uid, before.started_at, "running")
    rig.kill(after)
    assert await anext(hints) == spec.id
    assert rig.alive(before.name) == 0


def given(**fields):
    return Pipeline.model_validate({"status": "published", "version": "1", **fields}, strict=False)


async def test_check_finds_nothing_wrong_with_what_can_run(rig: Rig):
    """> What this executor can't do for this definition; empty if it can run."""
    assert rig.executor.check(given()) == []
    assert rig.executor.check(given(env={"A": "1"}, lifecycle="job", stop_timeout="1s")) == []


async def test_bytes_that_it_can_not_run_are_refused_in_the_same_words_whoever_asks(rig: Rig):
    """> What this executor can't do of these bytes; empty if it can run them.
    > No effect anywhere.
    > `prepare` and `start` raise the first of them.
    """
    fit, unfit = rig.spec(), rig.spec("unfit", config=UNFIT)
    assert await rig.executor.refusals(fit, rig.configs[fit.digest]) == []
    refusals = await rig.executor.refusals(unfit, UNFIT)
    assert [p.reason for p in refusals] == [Reason.CANNOT_RUN_HERE] * rig.refuses_bytes
    assert (await rig.executor.list()).executions == ()
    if not refusals:
        await rig.executor.prepare(unfit, 0)
        return
    for call in (rig.executor.prepare, rig.executor.start):
        with pytest.raises(CannotRunHere) as raised:
            await call(unfit, 0)
        assert raised.value.problem == refusals[0]
    assert (await rig.listing(unfit)).executions == ()


async def test_check_needs_neither_platform_nor_an_open_executor(rig: Rig):
    """> Pure: no I/O."""
    closed = rig.make()
    with rig.unreachable():
        assert closed.check(given()) == []
        assert len(closed.check(given(engine="nobody"))) == 1


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"engine": "nobody"}, Reason.UNKNOWN_ENGINE, "engine"),
        ({"connection": "nobody"}, Reason.UNKNOWN_CONNECTION, "connection"),
        ({"executor_options": {"x": 1}}, Reason.CANNOT_RUN_HERE, "executor_options.x"),
        ({"resources": {"cpu": 0.5}}, Reason.CANNOT_RUN_HERE, "resources.cpu"),
        ({"resources": {"memory": "256Mi"}}, Reason.CANNOT_RUN_HERE, "resources.memory"),
    ],
)
async def test_check_names_the_field_that_it_refuses(rig: Rig, fields, reason, field):
    """> Unknown engine and connection names, unknown `executor_options` and limits that can't be
    enforced are problems (UnknownEngine, UnknownConnection, CannotRunHere) with `field` set.
    """
    if field.startswith("resources.") and not rig.limits:
        return
    [problem] = rig.executor.check(given(**fields))
    assert (problem.reason, problem.field) == (reason, field)
    named = fields.get(field)  # the value of a field, or the field itself
    assert (named if isinstance(named, str) else field) in problem.message


async def test_list_holds_everything_of_ours_whatever_its_state(rig: Rig):
    """> Everything that carries our owner label, whatever its state, over all places."""
    await rig.executor.prepare(rig.spec("prepared"), 0)
    await rig.executor.start(rig.spec("running"), 0)
    await rig.executor.start(rig.spec("running"), 1)
    stopped = await rig.executor.start(rig.spec("stopped"), 0)
    await rig.executor.stop(stopped, 5.0)
    states = [("prepared", 0, "prepared"), ("running", 0, "running"), ("running", 1, "running")]
    states.append(("stopped", 0, "stopped"))
    for _ in range(2):
        listing = await rig.executor.list()
        assert sorted((e.id, e.replica, e.state) for e in listing.executions) == states
        await rig.reopen()


async def test_a_restart_changes_neither_executions_nor_their_order(rig: Rig):
    """> As `list`, for one pipeline; cheap enough to be called at every look at it."""
    for pipeline_id, replica in (("b", 1), ("a", 0), ("b", 0), ("b", 2), ("a", 1)):
        await rig.executor.prepare(rig.spec(pipeline_id), replica)
    before = await rig.executor.list(), await rig.executor.find("b")
    await rig.reopen()
    assert (await rig.executor.list(), await rig.executor.find("b")) == before
    assert [(e.id, e.replica) for e in before[0].executions] == sorted(
        [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("b", 2)]
    )


@pytest.mark.fault(26)
async def test_list_raises_where_no_place_answers(rig: Rig):
    """> Raises ExecutorUnreachable when none answered."""
    await rig.executor.start(rig.spec(), 0)
    with rig.unreachable():
        with pytest.raises(ExecutorUnreachable):
            await rig.executor.list()
        with pytest.raises(ExecutorUnreachable):
            await rig.executor.find("orders")
    assert len((await rig.executor.list()).executions) == 1


async def test_find_is_list_for_one_pipeline_and_cheap(rig: Rig):
    """> As `list`, for one pipeline; cheap enough to be called at every look at it."""
    spec, other = rig.spec("orders"), rig.spec("others")
    for replica in range(2):
        await rig.executor.start(spec, replica)
    await rig.executor.prepare(other, 0)
    found, listed = await rig.executor.find("orders"), await rig.executor.list()
    assert {e.name for e in found.executions} == {
        e.name for e in listed.executions if e.id == "orders"
    }
    assert found.places == listed.places
    assert (await rig.executor.find("nobody")).executions == ()
    lives = [(e.name, e.uid) for e in found.executions]
    for _ in range(100):
        again = (await rig.executor.find("orders")).executions
        assert [(e.name, e.uid) for e in again] == lives


async def test_an_execution_keeps_the_time_to_drain_that_it_was_started_with(rig: Rig):
    await rig.executor.start(rig.spec("orders", stop_timeout=7.0), 0)
    await rig.executor.start(rig.spec("others"), 0)
    await rig.reopen()
    found = {e.id: e.stop_timeout for e in (await rig.executor.list()).executions}
    assert found == {"orders": 7.0, "others": 30.0}


async def test_the_context_is_all_that_an_executor_needs(rig: Rig):
    """> What every executor is given once; it must not know more of the controller.
    > What those are given besides that run engines on this machine.
    > A NATS that executions of a pipeline get as NATS_URL and NATS_CREDS.
    """
    context = rig.context()
    assert context.connections["default"] == Connection("nats://127.0.0.1:1")
    await rig.executor.start(rig.spec(), 0)
    assert rig.fetches == [rig.spec().digest]
