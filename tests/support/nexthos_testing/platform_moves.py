"""A pipeline moves between real executors and a platform: its messages are the same, and never come twice.

The platform is the fake one; its replicas answer here, by the bytes that it was given.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

from nats.aio.msg import Msg

from nexthos_controller.executors.fake import FakePlatform, FakeWorkloads
from nexthos_controller.lifecycle.app import EXECUTORS, Running, running_controller
from nexthos_controller.settings import Settings
from nexthos_shared.model import Phase
from nexthos_testing.controller import engine_processes
from nexthos_testing.field import Field
from nexthos_testing.guarded import options_for
from nexthos_testing.wait import eventually


@asynccontextmanager
async def answering(field: Field, platform: FakePlatform) -> AsyncIterator[None]:
    """The platform's replicas, each of which answers as the engine would."""

    async def answer(message: Msg) -> None:
        for deployed in platform.deployed.values():
            mark = re.search(rb'"(v[0-9]+) ', deployed.content)
            for _ in deployed.pods:
                assert mark is not None
                await field.nc.publish(field.outlet("orders"), mark[1] + b" " + message.data)

    subscription = await field.nc.subscribe(field.inlet("orders"), cb=answer)
    try:
        yield
    finally:
        await subscription.unsubscribe()


@asynccontextmanager
async def questions(field: Field) -> AsyncIterator[Counter[str]]:
    """A numbered message every few milliseconds, and how often each answer came."""
    answers: Counter[str] = Counter()

    async def note(message: Msg) -> None:
        answers[message.data.decode()] += 1

    async def ask() -> None:
        number = 0
        while True:
            await field.nc.publish(field.inlet("orders"), f"{number}".encode())
            number += 1
            await asyncio.sleep(0.005)

    subscription = await field.nc.subscribe(field.outlet("orders"), cb=note)
    asking = asyncio.create_task(ask())
    try:
        yield answers
    finally:
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        await subscription.unsubscribe()


async def moved(
    url: str, field: Field, moves: Sequence[tuple[str, str]], settings: Settings
) -> None:
    """Go through `moves` (executor and lifecycle); `url` is that of NATS for the controllers."""
    platform = FakePlatform()
    assert settings.state_dir is not None
    executions = settings.state_dir / "executions"

    @asynccontextmanager
    async def controller() -> AsyncIterator[Running]:
        known = {**EXECUTORS, "workloads": lambda context: FakeWorkloads(context, platform)}
        options = options_for(url, field.names.namespace)
        async with running_controller(settings, options, known) as running:
            await running.leading()
            yield running

    def runs_at() -> dict[str, int]:
        return {
            "process": len(engine_processes(executions)),
            "workloads": len(platform.running("orders")),
        }

    async with controller():  # makes the store
        await field.echo("orders")
    async with answering(field, platform), questions(field) as answers:
        for executor, lifecycle in moves:
            # Each move is begun by one controller, which ends in the midst of it, and done by the next.
            async with controller():
                await field.put("orders", version="1", executor=executor, lifecycle=lifecycle)
                await asyncio.sleep(0.05)
            async with controller():
                await eventually(partial(runs_on, field, executor), within=30.0)
                answers.clear()
                await eventually(lambda: len(answers) > 20, within=20.0)
                assert all(words.startswith("v1 ") for words in answers)
                others = {name: n for name, n in runs_at().items() if name != executor}
                assert not any(others.values()), others
                await eventually(only_once(answers))
        async with controller():
            await field.delete("orders")
            await eventually(lambda: not any(runs_at().values()), within=20.0)
            await eventually(lambda: not platform.deployed)
            await eventually(partial(is_gone, field), within=20.0)
    assert await field.is_silent("orders")


async def runs_on(field: Field, executor: str) -> bool:
    status = await field.status("orders")
    if status is None or status.phase is not Phase.RUNNING:
        return False
    return {e.executor for e in status.executions} == {executor}


async def is_gone(field: Field) -> bool:
    return await field.status("orders") is None


def only_once(answers: Counter[str]) -> Callable[[], bool]:
    """Whether nothing was answered twice, of all so far."""
    return lambda: set(answers.values()) == {1}
