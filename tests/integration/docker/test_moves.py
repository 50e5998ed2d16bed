"""One definition on another executor: nothing but its `executor` differs."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from nexthos_testing.controller import engine_processes
from nexthos_testing.dockyard import Dockyard
from nexthos_testing.streams_rig import ask_host
from nexthos_testing.wait import eventually

# Without a queue group: of two that ran at once both would answer.
ECHO = """\
input: {{nats: {{urls: ["${{NATS_URL}}"], subject: {inlet}}}}}
pipeline:
  processors:
    - mapping: root = "${{NEXTHOS_PIPELINE}} ${{REGION}} " + content().string()
output: {{nats: {{urls: ["${{NATS_URL}}"], subject: {outlet}}}}}
"""


@asynccontextmanager
async def questions(yard: Dockyard, key: str) -> AsyncIterator[Counter[str]]:
    """A numbered message every few milliseconds; how often each was answered so far."""
    answers: Counter[str] = Counter()

    async def note(message: object) -> None:
        answers[message.data.decode()] += 1  # type: ignore[attr-defined]

    async def ask() -> None:
        number = 0
        while True:
            await yard.field.nc.publish(yard.field.inlet(key), f"{number}".encode())
            number += 1
            await asyncio.sleep(0.005)

    subscription = await yard.field.nc.subscribe(yard.field.outlet(key), cb=note)
    asking = asyncio.create_task(ask())
    try:
        yield answers
    finally:
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        await subscription.unsubscribe()


EXECUTORS = ("process", "streams", "docker", "streams", "process")


def live(yard: Dockyard) -> list[str]:
    """What runs it at this moment, each as often as it does."""
    found = ["docker"] * len(yard.running("orders"))
    found += ["process"] * len(engine_processes(yard.controller.state_dir / "executions"))
    return found + ["streams"] * len(streams_in(yard.controller.state_dir))


def streams_in(state_dir: Path) -> list[str]:
    """Streams that all its hosts know, as they say themselves."""
    found: list[str] = []
    for file in (state_dir / "hosts").glob("*/host.json"):
        found += ask_host(json.loads(file.read_bytes()), "/streams") or {}
    return found


@pytest.mark.fault(56)
@pytest.mark.parametrize("rolling", [False, True], ids=["recreate", "rolling"])
async def test_moved_between_executors_the_old_one_is_gone_before_the_new_one_starts(
    yard: Dockyard, rolling: bool
) -> None:
    inlet, outlet = yard.field.inlet("orders"), yard.field.outlet("orders")
    await yard.field.config("orders", ECHO.format(inlet=inlet, outlet=outlet))
    same: dict[str, Any] = {
        "env": {"REGION": "eu"},
        "update": {"strategy": "rolling" if rolling else "recreate"},
        "resources": {},
    }
    async with questions(yard, "orders") as answers:
        for executor in EXECUTORS:
            before = len(answers)
            await yard.field.put("orders", executor=executor, **same)

            def moved(wanted: str = executor) -> bool:
                found = live(yard)
                assert len(found) <= 1
                return found == [wanted]

            await eventually(moved, within=20.0)
            status = await yard.field.reaches("orders", "Running")
            [execution] = status.executions
            assert (execution.executor, status.restarts) == (executor, 0)

            def answering(before: int = before) -> bool:
                return len(answers) > before + 5

            await eventually(answering)
        assert yard.containers("orders") == []
    assert {text.rpartition(" ")[0] for text in answers} == {"orders eu"}
    assert max(answers.values()) == 1
