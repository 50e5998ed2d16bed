from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from nexthos_cli.dev.ending import GRACE, End, Interrupted, stop_all
from nexthos_controller.execution import Execution
from nexthos_shared.errors import ExecutorUnreachable, StillRunning


@dataclass
class Stubborn:
    """Only `stop`: with a grace it ends when it likes, without one at once."""

    likes: asyncio.Event = field(default_factory=asyncio.Event)
    calls: list[tuple[str, float]] = field(default_factory=list)
    immortal: bool = False
    broken: bool = False

    async def stop(self, execution: Execution, grace: float) -> bool:
        self.calls.append((execution.id, grace))
        if grace and self.broken:
            raise ExecutorUnreachable("no answer")
        if grace:
            await self.likes.wait()
        elif self.immortal:
            raise StillRunning("in uninterruptible sleep")
        return bool(grace)


def executions(*ids: str) -> list[Execution]:
    return [
        Execution(f"ns-{key}-0", key, 0, f"1-{key}", "fake", "here", "", 1, "", "running")
        for key in ids
    ]


async def stopping(executor: Any, end: End, said: list[str], *ids: str) -> None:
    async with asyncio.timeout(5.0):
        await stop_all(executor, executions(*ids), end, said.append)


async def test_engines_get_the_grace_and_no_more():
    executor, said = Stubborn(), list[str]()
    executor.likes.set()
    await stopping(executor, End(), said, "a", "b")

    assert executor.calls == [("a", GRACE), ("b", GRACE)]
    assert said == []


async def test_the_second_request_kills_what_still_runs_at_once():
    executor, end, said = Stubborn(), End(), list[str]()
    end.ask()
    ending = asyncio.create_task(stopping(executor, end, said, "b", "a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not ending.done()
    end.ask()
    await ending

    assert executor.calls == [("b", GRACE), ("a", GRACE), ("b", 0.0), ("a", 0.0)]
    assert said == ["killing what still runs: a, b"]


async def test_one_whose_stop_fails_is_killed():
    executor, said = Stubborn(broken=True), list[str]()
    await stopping(executor, End(), said, "a")

    assert executor.calls == [("a", GRACE), ("a", 0.0)]


async def test_one_that_outlives_that_is_named():
    executor, end, said = Stubborn(immortal=True), End(), list[str]()
    end.ask()
    end.ask()
    await stopping(executor, end, said, "a")

    assert said[-1] == "error: pipeline a still runs (1-a): in uninterruptible sleep"


async def test_signals_are_requests_while_it_listens():
    end = End()
    with end.listening():
        for number, event in ((signal.SIGTERM, end.asked), (signal.SIGINT, end.twice)):
            assert not event.is_set()
            os.kill(os.getpid(), number)
            async with asyncio.timeout(5.0):
                await event.wait()


async def test_a_request_while_something_is_started_interrupts_it_and_leaves_what_was_entered():
    end, left = End(), asyncio.Event()

    @contextlib.asynccontextmanager
    async def hanging():
        try:
            await asyncio.Event().wait()
            yield
        finally:
            await asyncio.sleep(0)
            left.set()

    asyncio.get_running_loop().call_soon(end.ask)
    with pytest.raises(Interrupted), end.interrupting():
        async with hanging():
            raise AssertionError("never entered")
    assert left.is_set()
    current = asyncio.current_task()
    assert current is not None
    assert not current.cancelling()


async def test_a_request_before_that_starts_nothing():
    end = End()
    end.ask()
    with pytest.raises(Interrupted), end.interrupting():
        raise AssertionError("never entered")


async def test_a_cancellation_by_others_stays_one():
    async def work() -> None:
        with End().interrupting():
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_closed_terminal_is_one_request_however_often_it_is_told() -> None:
    end = End()
    with end.listening():
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
            await end.asked.wait()
        await asyncio.sleep(0)
        assert not end.twice.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        await end.twice.wait()


async def test_what_nohup_ignores_stays_ignored(hang_up_ignored: None) -> None:
    end = End()
    with end.listening():
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        await end.asked.wait()
        assert not end.twice.is_set()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.fixture
def hang_up_ignored() -> Iterator[None]:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)
