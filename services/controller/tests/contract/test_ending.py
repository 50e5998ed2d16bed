"""base.py: stop, remove, and how an end is judged."""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial

import pytest

from nexthos_shared.errors import ExecutorUnreachable, StillRunning
from nexthos_shared.reasons import Reason
from nexthos_testing.rig import Rig
from nexthos_testing.wait import eventually


async def test_stop_drains_and_keeps(rig: Rig):
    """> After: nothing of it runs; it is kept, with its handle, bytes and log, and its exit says
    `signalled`.
    > Returns "drained" if it ended within the grace by itself, else "killed".
    > How an execution ended.
    """
    spec = rig.spec()
    execution = await rig.executor.start(spec, 0)
    await eventually(lambda: ready(rig, spec))
    assert await rig.executor.stop(execution, 10.0) == "drained"
    assert rig.alive(execution.name) == 0
    for _ in range(2):
        stopped = await rig.seen(spec)
        assert (stopped.state, stopped.uid) == ("stopped", execution.uid)
        assert stopped.exit is not None
        assert (stopped.exit.code, stopped.exit.signalled) == (0, True)
        assert rig.traces(execution.name) != []
        await rig.reopen()


@pytest.mark.fault(39)
async def test_what_ignores_sigterm_is_killed_after_the_grace(rig: Rig):
    """> End that life of it: SIGTERM, `grace` seconds, SIGKILL, to the whole group."""
    spec = rig.spec("orders", "stubborn")
    execution = await rig.executor.start(spec, 0)
    await eventually(lambda: ready(rig, spec))
    began = time.monotonic()
    assert await rig.executor.stop(execution, 0.3) == "killed"
    assert time.monotonic() - began >= 0.3
    assert rig.alive(execution.name) == 0
    stopped = await rig.seen(spec)
    assert stopped.exit is not None
    assert (stopped.exit.code, stopped.exit.signalled) == (None, True)


async def test_a_stop_that_misses_does_nothing(rig: Rig):
    """> If another uid runs under that name, or it has ended already, nothing is done and
    "drained" is returned.
    """
    spec = rig.spec()
    first = await rig.executor.start(spec, 0)
    assert await rig.executor.stop(first, 5.0) == "drained"
    assert await rig.executor.stop(first, 5.0) == "drained"
    second = await rig.executor.start(spec, 0)
    assert await rig.executor.stop(first, 5.0) == "drained"
    assert (await rig.seen(spec)).uid == second.uid
    assert rig.alive(second.name) == 1


async def test_what_outlives_a_kill_is_told(rig: Rig):
    """> Raises StillRunning if it outlived the kill."""
    spec = rig.spec("orders", "stubborn")
    execution = await rig.executor.start(spec, 0)
    await eventually(lambda: ready(rig, spec))
    with rig.immortal(), pytest.raises(StillRunning):
        await rig.executor.stop(execution, 0.05)
    assert (await rig.seen(spec)).state == "running"
    assert await rig.executor.stop(execution, 0.0) == "killed"


async def test_a_cancelled_stop_leaves_it_running_or_ended(rig: Rig):
    """> A cancelled stop leaves it running or ended, never half known."""
    for turns in (0, 1, 2, 3, 5, 8, 13, 40):
        spec = rig.spec(f"orders-{turns}", "stubborn")
        execution = await rig.executor.start(spec, 0)
        await eventually(partial(ready, rig, spec))
        call = asyncio.ensure_future(rig.executor.stop(execution, 0.01))
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
        await eventually(partial(known, rig, spec, execution.uid))
        await rig.executor.stop(execution, 0.0)
        assert rig.alive(execution.name) == 0
        assert (await rig.seen(spec)).state == "stopped"


async def known(rig: Rig, spec, uid: str) -> bool:
    """Whether what is said of it is what it is: it may be dying of the signal it got."""
    seen = await rig.seen(spec)
    assert seen.uid == uid
    return seen.state == ("running" if rig.alive(seen.name) else "stopped")


async def test_remove_leaves_no_trace(rig: Rig):
    """> Leave no trace of it: no handle, file, volume, log.
    > A second call does nothing.
    """
    spec = rig.spec()
    execution = await rig.executor.start(spec, 0)
    await rig.executor.stop(execution, 5.0)
    stopped = await rig.seen(spec)
    await rig.executor.remove(stopped)
    await rig.executor.remove(stopped)
    assert rig.traces(execution.name) == []
    assert (await rig.listing(spec)).executions == ()
    await rig.reopen()
    assert (await rig.executor.list()).executions == ()


async def test_a_running_one_is_not_removed(rig: Rig):
    """> Raises StillRunning if it runs."""
    execution = await rig.executor.start(rig.spec(), 0)
    with pytest.raises(StillRunning):
        await rig.executor.remove(execution)
    assert rig.alive(execution.name) == 1


async def test_a_remove_that_misses_does_nothing(rig: Rig):
    """> If another uid lives under that name, nothing is done."""
    spec = rig.spec()
    await rig.executor.prepare(spec, 0)
    prepared = await rig.seen(spec)
    first = await rig.executor.start(spec, 0)
    await rig.executor.stop(first, 5.0)
    await rig.executor.remove(prepared)
    assert (await rig.seen(spec)).uid == first.uid
    second = await rig.executor.start(spec, 0)
    await rig.executor.remove(first)
    await rig.executor.stop(second, 5.0)
    await rig.executor.remove(first)
    assert (await rig.seen(spec)).uid == second.uid


@pytest.mark.fault(79, 80)
@pytest.mark.parametrize("watched", [True, False], ids=["watched", "nobody-looked"])
@pytest.mark.parametrize(
    ("act", "code", "signalled", "reason"),
    [
        ("finish 0", 0, False, None),
        ("finish 1", 1, False, Reason.EXITED),
        ("finish 3", 3, False, Reason.EXITED),
        ("signal", 0, True, None),
        ("kill", None, False, Reason.KILLED),
    ],
)
async def test_an_end_is_judged_right_whether_or_not_somebody_looked(
    rig: Rig, act, code, signalled, reason, watched
):
    """> How an execution ended."""
    spec = rig.spec("orders", "puppet")
    execution = await rig.executor.start(spec, 0)
    await eventually(lambda: ready(rig, spec))
    if not watched:
        await rig.close()
    verb, _, argument = act.partition(" ")
    getattr(rig, verb)(execution, *([int(argument)] if argument else []))
    await eventually(lambda: rig.alive(execution.name) == 0)
    if not watched:
        await rig.open()

    async def ended():
        try:
            seen = await rig.seen(spec)
        except ExecutorUnreachable:  # a shared engine on a busy machine: it answers a moment later
            return None
        return seen if seen.state == "stopped" else None

    seen = await eventually(ended)
    assert seen.uid == execution.uid
    assert seen.exit is not None
    assert (seen.exit.code, seen.exit.signalled) == (code, signalled)
    assert (seen.exit.problem and seen.exit.problem.reason) == reason


async def ready(rig: Rig, spec):
    seen = await rig.seen(spec)
    return seen if seen.ready else None
