"""Ending a session: SIGTERM, the grace, SIGKILL, to the group and to all who left it within the session."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from nexthos_controller.executors.local import processes
from nexthos_controller.executors.local.deaths import Deaths
from nexthos_controller.executors.local.processes import Session
from nexthos_shared.errors import StillRunning

RUNS_WITHIN = 1.0  # seconds from spawning the shim to the engine's exec; it takes 2 ms
LOOK_AGAIN = 0.002  # seconds
KILL_WITHIN = 5.0  # seconds for SIGKILL to work; a process in uninterruptible sleep outlives it
KILL_AGAIN = 0.05  # seconds


async def until_engine_runs(session: Session, over: asyncio.Event, deaths: Deaths) -> None:
    """Wait until a signal to the group can't be lost any more.

    Between its fork and its exec the shim's child has the shim's trap: a SIGTERM that came then was
    swallowed, and a stop right after a start took the whole grace.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + RUNS_WITHIN
    while not over.is_set() and loop.time() < deadline:
        living = await deaths.living(session)
        shim = processes.argv_of(session.pid)
        if any(pid != session.pid and processes.argv_of(pid) != shim for pid in living):
            return
        await asyncio.sleep(LOOK_AGAIN)


async def end(
    session: Session, over: asyncio.Event, deaths: Deaths, grace: float, guard: Callable[[], None]
) -> bool:
    """Whether it ended within `grace` seconds by itself; `over` is set when nothing of it runs.

    `guard` is asked again before each SIGKILL. Raises StillRunning if it outlives that.
    """
    processes.signal_group(session, kill=False)
    try:
        async with asyncio.timeout(grace):
            for pid in await deaths.living(session):
                processes.signal_one(pid, session, kill=False)
            await over.wait()
    except TimeoutError:
        await _kill(session, over, deaths, guard)
        return False
    return True


async def _kill(
    session: Session, over: asyncio.Event, deaths: Deaths, guard: Callable[[], None]
) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + KILL_WITHIN
    living: list[int] = []
    while not over.is_set():  # again and again: a member may have forked while we looked
        if loop.time() > deadline:
            raise StillRunning(f"processes {living} of session {session.pid} outlive SIGKILL")
        guard()
        processes.signal_group(session, kill=True)
        living = await deaths.living(session)
        for pid in living:
            processes.signal_one(pid, session, kill=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILL_AGAIN):
                await over.wait()
