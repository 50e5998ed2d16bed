"""What is asked of the daemon: once per change, not once per look."""

from __future__ import annotations

import pytest

from nexthos_controller.executors.docker.daemon import Daemon
from nexthos_testing.docker_rig import DockerRig
from nexthos_testing.wait import eventually


@pytest.fixture
def inspected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Containers as they are inspected."""
    asked: list[str] = []
    inspect = Daemon.inspect

    async def noted(self: Daemon, container: str) -> dict[str, object]:
        asked.append(container)
        return await inspect(self, container)

    monkeypatch.setattr(Daemon, "inspect", noted)
    return asked


async def test_a_look_inspects_nothing_that_has_not_changed(
    docker_rig: DockerRig, inspected: list[str]
) -> None:
    specs = [docker_rig.spec(f"orders-{number}") for number in range(3)]
    started = [await docker_rig.executor.start(spec, 0) for spec in specs]

    async def rests() -> bool:
        """Events of the starts have all come."""
        inspected.clear()
        await docker_rig.executor.list()
        return not inspected

    await eventually(rests)
    for spec in specs:
        await docker_rig.executor.find(spec.id)
    assert inspected == []
    docker_rig.kill(started[1])

    async def ended() -> bool:
        return (await docker_rig.seen(specs[1])).state == "stopped"

    await eventually(ended)
    await eventually(rests)
    await docker_rig.executor.list()
    assert {c[:12] for c in inspected} <= {started[1].uid.partition("-")[0]}
    await docker_rig.reopen()
    assert len((await docker_rig.executor.list()).executions) == 3


async def test_what_ended_is_judged_once(docker_rig: DockerRig, monkeypatch) -> None:
    """The log and the signals of a life that is over are asked for once, however often it is listed."""
    asked: list[str] = []
    signals = Daemon.signals

    async def noted(self: Daemon, container: str, since: int, until: int) -> set[str]:
        asked.append(container)
        return await signals(self, container, since, until)

    monkeypatch.setattr(Daemon, "signals", noted)
    spec = docker_rig.spec()
    execution = await docker_rig.executor.start(spec, 0)
    assert await docker_rig.executor.stop(execution, 10.0) == "drained"
    for _ in range(5):
        stopped = await docker_rig.seen(spec)
        assert stopped.exit is not None
        assert stopped.exit.signalled
    assert 1 <= len(asked) <= 2  # once more where the note came late
