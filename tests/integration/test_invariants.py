"""What always holds, over real NATS, a real controller and real engines: short walks through everything.

The long ones, with every fault that there is, are in services/controller/tests/machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import signal
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from nexthos_testing.controller import ControllerProcess, engine_processes, kill_leftovers
from nexthos_testing.field import Field, field_of
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually

KEYS = ("orders", "mails")
ACTS = (
    "publish 1",
    "publish 2",
    "pause",
    "draft",
    "delete",
    "nonsense",
    "kill the engine",
    "kill the controller",
    "end the controller",
)
_EXECUTION = re.compile(r"executions/[^/]*?-(orders|mails)-0-[0-9a-f]{8}/")

steps = st.lists(st.tuples(st.sampled_from(ACTS), st.sampled_from(KEYS)), min_size=14, max_size=14)


@dataclass
class Walk:
    """What a user wants, and what runs."""

    user: Field
    controller: ControllerProcess
    wanted: dict[str, str] = field(default_factory=dict)  # key -> what comes out, "" for nothing
    most: Counter[str] = field(default_factory=Counter)

    def engines(self) -> Counter[str]:
        """Live engines by pipeline."""
        found: Counter[str] = Counter()
        for argv in engine_processes(self.controller.state_dir).values():
            if (match := _EXECUTION.search(argv)) is not None:
                found[match[1]] += 1
        return found

    async def watch(self) -> None:
        """I1: at no moment two of one pipeline."""
        while True:
            for key, number in self.engines().items():
                self.most[key] = max(self.most[key], number)
            await asyncio.sleep(0.005)

    async def take(self, act: str, key: str) -> None:
        match act.split():
            case ["publish", version]:
                self.wanted[key] = f"v{version} hello"
                await self.user.put(key, version=version)
            case ["pause"]:
                self.wanted[key] = ""
                await self.user.put(key, "paused", version="1")
            case ["draft"]:
                self.wanted[key] = ""
                await self.user.put(key, "draft", version="1")
            case ["delete"]:
                self.wanted[key] = ""
                await self.user.delete(key)
            case ["nonsense"]:  # I8: what was accepted goes on
                await self.user.put_raw(key, b"nonsense")
                self.wanted.setdefault(key, "")
            case ["kill", "the", "engine"]:
                for pid, argv in engine_processes(self.controller.state_dir).items():
                    if f"-{key}-0-" in argv:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
            case ["kill", "the", "controller"]:  # in the middle of whatever it does
                await self.controller.kill()
                await self.controller.start()
            case ["end", "the", "controller"]:
                await self.reaches_what_is_wanted()
                before = engine_processes(self.controller.state_dir)
                await self.controller.terminate()
                await self.controller.start()
                await self.reaches_what_is_wanted()
                after = engine_processes(self.controller.state_dir)
                assert after == before, "I7: a restart alone changes what runs"

    async def reaches_what_is_wanted(self) -> None:
        """L1 and L2, judged by messages and processes."""
        for key, words in self.wanted.items():
            if words:
                await self.user.until_it_says(key, words)
        counts = {key: 1 for key, words in self.wanted.items() if words}
        await eventually(lambda: dict(self.engines()) == counts, within=20.0)


async def walk(url: str, folder: Path, taken: list[tuple[str, str]]) -> None:
    namespace = f"t{secrets.token_hex(4)}"
    controller = ControllerProcess(url, namespace, folder / namespace / "state")
    controller.state_dir.parent.mkdir()
    await controller.start()
    try:
        async with field_of(url, namespace) as user:
            for key in KEYS:
                for version in ("1", "2"):
                    await user.echo(key, f"v{version}", version)
            one = Walk(user, controller)
            watching = asyncio.create_task(one.watch())
            for number, (act, key) in enumerate(taken):
                await one.take(act, key)
                if number % 2:
                    await one.reaches_what_is_wanted()
            await one.reaches_what_is_wanted()
            watching.cancel()
            assert all(number <= 1 for number in one.most.values()), f"I1: {one.most}"
    finally:
        if controller.running:
            await controller.terminate()
        kill_leftovers(controller.state_dir)


@pytest.mark.timeout(240)
@settings(
    max_examples=3,
    derandomize=True,
    deadline=None,
    phases=(Phase.generate,),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(taken=steps)
def test_whatever_is_done_in_whatever_order_one_engine_runs_what_is_wanted(
    nats_server: NatsServer, tmp_path: Path, taken: list[tuple[str, str]]
) -> None:
    asyncio.run(walk(nats_server.url, tmp_path, taken))
