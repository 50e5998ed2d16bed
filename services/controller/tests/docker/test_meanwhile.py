"""A hand that is faster than a call to the daemon: what is known afterwards is what is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from nexthos_controller.executors.docker.daemon import Daemon
from nexthos_testing.docker_rig import DockerRig
from nexthos_testing.wait import eventually


@pytest.mark.fault(137)
async def test_a_life_that_begins_while_an_older_one_is_looked_at_is_seen(
    docker_rig: DockerRig, monkeypatch: pytest.MonkeyPatch
):
    spec = docker_rig.spec()
    executor: Any = docker_rig.executor
    first = await executor.start(spec, 0)

    async def rests() -> bool:
        await executor.list()
        return not any(r.doubtful for r in executor._stock._records.values())

    await eventually(rests)
    inspect, changed = Daemon.inspect, executor._stock.changed
    events: list[str] = []

    def note(container: str, pipeline_id: str) -> None:
        changed(container, pipeline_id)
        events.append(container)

    async def late(self: Daemon, container: str) -> dict[str, Any]:
        found = await inspect(self, container)
        if not events:
            docker_rig.hands.api.restart(found["Id"], timeout=5)
            await eventually(
                lambda: len(events) >= 4, within=20.0
            )  # kill, die, stop, start, restart
            await eventually(rests_quietly(events), within=20.0)
        return found

    monkeypatch.setattr(executor._watch, "_changed", note)
    monkeypatch.setattr(Daemon, "inspect", late)
    await docker_rig.executor.prepare(spec, 0)
    monkeypatch.undo()
    seen = await docker_rig.seen(spec)
    assert events
    assert seen.state == "running"
    assert seen.uid != first.uid


def rests_quietly(events: list[str]) -> Any:
    before: list[int] = [-1]

    def same() -> bool:
        known, before[0] = before[0], len(events)
        return known == len(events)

    return same


@pytest.mark.fault(137)
async def test_one_that_a_hand_makes_in_that_very_moment_is_not_started_as_ours(
    docker_rig: DockerRig, monkeypatch: pytest.MonkeyPatch
):
    create = Daemon.create
    strange: list[str] = []

    async def slower(self: Daemon, name: str, config: Mapping[str, Any]) -> str:
        if not strange:
            other = {**config, "environment": {"COLOUR": "red"}}
            strange.append(await create(self, name, other))
        return await create(self, name, config)

    monkeypatch.setattr(Daemon, "create", slower)
    execution = await docker_rig.executor.start(docker_rig.spec(), 0)
    assert execution.altered == ""
    assert not execution.uid.startswith(strange[0][:12])
    assert not docker_rig.hands.api.inspect_container(strange[0])["State"]["Running"]
    for left in (await docker_rig.executor.list()).executions:
        if left.uid != execution.uid:
            await docker_rig.executor.remove(left)
