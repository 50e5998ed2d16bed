"""The controller is killed in the middle of a step: once it is back there is one container, the same end."""

from __future__ import annotations

import pytest

from nexthos_testing.dockyard import Dockyard
from nexthos_testing.wait import eventually

STARTING = [
    "controller.decided",
    "controller.remembered",
    "docker.created",
    "docker.starting",
    pytest.param("docker.started", marks=pytest.mark.fault(4)),
    pytest.param("controller.acted", marks=pytest.mark.fault(4)),
]


@pytest.mark.fault(3)
@pytest.mark.parametrize("point", STARTING)
async def test_killed_while_it_starts_one_container_runs_afterwards(
    yard: Dockyard, point: str
) -> None:
    await yard.dies_at(point)
    await yard.field.echo("orders")
    await yard.field.put("orders")
    await yard.died()
    before = [c["Id"] for c in yard.containers("orders")]
    await yard.controller.start()
    assert await yard.field.says("orders") == "v1 hello"
    status = await yard.field.reaches("orders", "Running")
    after = yard.one("orders")["Id"]
    assert before in ([], [after])  # what was made before is the one that runs
    assert (status.restarts, status.drifts, len(status.executions)) == (0, 0, 1)


@pytest.mark.parametrize("point", ["controller.remembered", "controller.acted"])
async def test_killed_while_it_pauses_the_container_is_kept_and_resumed(
    yard: Dockyard, point: str
) -> None:
    container = await yard.runs("orders")
    await yard.dies_at(point)
    await yard.field.put("orders", "paused")
    await yard.died()
    await yard.controller.start()
    await yard.field.reaches("orders", "Paused")
    kept = yard.one("orders")
    assert (kept["Id"], kept["State"]["Status"]) == (container, "exited")
    await yard.dies_at("docker.started" if point == "controller.acted" else "docker.starting")
    await yard.field.put("orders")
    await yard.died()
    await yard.controller.start()
    assert await yard.field.says("orders") == "v1 hello"
    assert yard.one("orders")["Id"] == container
    assert (await yard.field.reaches("orders", "Running")).restarts == 0


UPDATING = [
    "docker.created",
    "docker.started",
    "controller.acted",
    "docker.removing",
]


@pytest.mark.parametrize("point", UPDATING)
async def test_killed_while_it_updates_the_new_version_alone_runs_afterwards(
    yard: Dockyard, point: str
) -> None:
    old = await yard.runs("orders")
    await yard.dies_at(point)
    await yard.field.echo("orders", "v2", "2")
    await yard.field.put("orders", version="2")
    await yard.died()
    assert len(yard.running("orders")) <= 1
    await yard.controller.start()
    await yard.field.until_it_says("orders", "v2 hello")
    await eventually(lambda: len(yard.containers("orders")) == 1)
    assert yard.one("orders")["Id"] != old
    assert (await yard.field.reaches("orders", "Running")).restarts == 0


@pytest.mark.parametrize("point", ["docker.removing", "controller.acted"])
async def test_killed_while_it_removes_nothing_is_left_afterwards(
    yard: Dockyard, point: str
) -> None:
    [volume] = yard.hands.volumes_of(await yard.runs("orders"))
    await yard.dies_at(point)
    await yard.field.delete("orders")
    await yard.died()
    await yard.controller.start()
    await yard.gone("orders")
    assert (yard.containers("orders"), yard.hands.has_volume(volume)) == ([], False)
