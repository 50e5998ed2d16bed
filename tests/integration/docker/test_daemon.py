"""The Docker daemon restarts, goes away, or is another one: nothing runs twice, nothing is removed unseen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from nexthos_shared.model import ConditionType
from nexthos_shared.reasons import Reason
from nexthos_testing.controller import engine_processes
from nexthos_testing.docker import Hands
from nexthos_testing.dockerd import Dockerd, HandsAt, need_dockerd, sweep
from nexthos_testing.dockyard import Dockyard, dockyard, write_settings
from nexthos_testing.locks import alone
from nexthos_testing.nats import NatsServer
from nexthos_testing.wait import eventually


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Path]:
    """The data of these daemons: an image takes seconds to be copied. Removed when nobody needs it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "dockerd"
    yield folder
    sweep(folder)


@asynccontextmanager
async def yard_of(
    daemon: Dockerd, nats: NatsServer, namespace: str, folder: Path, **more: int
) -> AsyncIterator[Dockyard]:
    docker = {"host": daemon.host, "network": "host", **more}
    hands = HandsAt(daemon.host)
    try:
        async with dockyard(nats, namespace, folder, docker, hands=hands, url=nats.url) as there:
            yield there
    finally:
        hands.close()


@pytest.fixture
async def daemon(docker_daemon: None, shared_folder: Path) -> AsyncIterator[Dockerd]:
    need_dockerd()
    with alone(shared_folder) as folder:
        async with Dockerd(folder) as running:
            yield running


@pytest.fixture
async def own_yard(
    daemon: Dockerd, nats_server: NatsServer, namespace: str, tmp_path: Path
) -> AsyncIterator[Dockyard]:
    """A controller on a daemon that the test may end; its containers end with that."""
    async with yard_of(daemon, nats_server, namespace, tmp_path) as there:
        yield there


@pytest.fixture
async def restoring(
    docker_daemon: None,
    shared_folder: Path,
    nats_server: NatsServer,
    namespace: str,
    tmp_path: Path,
) -> AsyncIterator[tuple[Dockerd, Dockyard]]:
    """The same, but containers live on without their daemon."""
    need_dockerd()
    with alone(shared_folder) as folder:
        async with (
            Dockerd(folder, live_restore=True) as daemon,
            yard_of(daemon, nats_server, namespace, tmp_path) as there,
        ):
            yield daemon, there


@pytest.mark.fault(27)
@pytest.mark.parametrize("kill", [False, True], ids=["SIGTERM", "kill -9"])
async def test_over_a_restart_of_the_daemon_all_run_again_nobody_twice(
    own_yard: Dockyard, daemon: Dockerd, kill: bool
) -> None:
    yard, keys = own_yard, ["one", "two", "three"]
    for key in keys:
        await yard.runs(key)
    await yard.field.put("three", "paused")
    await yard.field.reaches("three", "Paused")
    before = yard.lives()
    await (daemon.kill() if kill else daemon.stop())
    await daemon.start()
    for key in keys[:2]:
        assert await yard.field.says(key, within=30.0) == "v1 hello"
        status = await yard.field.reaches(key, "Running")
        # the daemon asks them to end, as `docker stop` does, now or when it is back: that is no crash
        assert (status.restarts, status.drifts) == (0, 0)
        assert len(yard.containers(key)) == 1
    after = yard.lives()
    assert after.keys() == before.keys()
    assert not after.items() & before.items()
    assert not yard.one("three")["State"]["Running"]


@pytest.mark.fault(28)
async def test_over_a_restart_with_live_restore_the_same_lives_go_on(
    restoring: tuple[Dockerd, Dockyard],
) -> None:
    daemon, yard = restoring
    keys = ["one", "two"]
    for key in keys:
        await yard.runs(key)
    before = yard.lives()
    await daemon.stop()
    assert await yard.field.says("one") == "v1 hello"
    await daemon.start()
    await yard.field.request("reconcile")
    for key in keys:
        status = await yard.field.reaches(key, "Running", within=30.0)
        assert (status.restarts, status.drifts) == (0, 0)
        assert await yard.field.says(key) == "v1 hello"
    assert yard.lives() == before
    await yard.controller.kill()
    await daemon.restart()
    await yard.controller.start()
    assert (await yard.field.request("reconcile"))["unsettled"] == 0
    assert yard.lives() == before


@pytest.mark.fault(26)
async def test_while_the_daemon_is_away_it_is_unknown_nothing_is_started_and_it_heals(
    restoring: tuple[Dockerd, Dockyard],
) -> None:
    daemon, yard = restoring
    for key in ("same", "paused", "deleted", "newer"):
        await yard.runs(key)
    before = yard.lives()
    await daemon.stop()
    status = await yard.field.reaches("same", "Unknown", within=30.0)
    reachable = status.condition(ConditionType.REACHABLE)
    assert reachable is not None
    assert reachable.reason is Reason.EXECUTOR_UNREACHABLE
    await yard.field.put("paused", "paused")
    await yard.field.delete("deleted")
    await yard.field.echo("newer", "v2", "2")
    await yard.field.put("newer", version="2")
    await yard.field.reaches("deleted", "Stopping")
    await yard.runs_as_process("other")
    for key in ("same", "paused", "deleted", "newer"):
        assert await yard.field.says(key) == "v1 hello"
    assert len(engine_processes(yard.controller.state_dir)) == 1
    await daemon.start()
    status = await yard.field.reaches("same", "Running", within=30.0)
    assert status.restarts == 0
    await yard.field.reaches("paused", "Paused", within=30.0)
    await yard.gone("deleted")
    await yard.field.until_it_says("newer", "v2 hello", within=30.0)
    same = yard.one("same")
    assert before[same["Id"]] == same["State"]["StartedAt"]
    await eventually(lambda: len(yard.containers()) == 3)


@pytest.mark.fault(26, 64)
async def test_a_daemon_that_hangs_is_unknown_in_time_and_others_are_not_held_up(
    daemon: Dockerd, nats_server: NatsServer, namespace: str, tmp_path: Path
) -> None:
    async with yard_of(daemon, nats_server, namespace, tmp_path, timeout=1) as yard:
        await yard.runs("orders")
        before = yard.lives()
        daemon.freeze()
        try:
            await yard.field.put("orders", labels={"look": "again"})
            await yard.field.reaches("orders", "Unknown", within=20.0)
            await yard.runs_as_process("other")
            assert await yard.field.says("orders") == "v1 hello"
        finally:
            daemon.thaw()
        assert (await yard.field.reaches("orders", "Running", within=30.0)).restarts == 0
        assert yard.lives() == before


@pytest.mark.fault(77)
async def test_pointed_to_another_daemon_it_is_unknown_until_the_place_is_declared_gone(
    own_yard: Dockyard, daemon: Dockerd, nats_server: NatsServer
) -> None:
    yard, old = own_yard, own_yard.hands
    container = await yard.runs("orders")
    place = old.api.info()["ID"]
    async with AsyncExitStack() as stack:
        elsewhere = Hands()
        stack.callback(elsewhere.close)
        stack.callback(elsewhere.remove_all, namespace=yard.namespace)
        assert elsewhere.api.info()["ID"] != place
        write_settings(yard.settings, nats_server.url, {"network": "host"})
        await yard.begins_again()
        words = await yard.told("orders", ConditionType.REACHABLE, Reason.PLACE_LOST)
        assert f"nexthos abandon {place}" in words
        await yard.field.request("reconcile", id="orders")
        status = await yard.field.reaches("orders", "Unknown")
        assert status.restarts == 0
        assert elsewhere.labelled(namespace=yard.namespace) == []
        assert engine_processes(yard.controller.state_dir) == {}
        assert yard.one("orders")["Id"] == container
        await yard.does("abandon", place, "-y")
        await daemon.stop()  # as was said
        assert await yard.field.says("orders", within=30.0) == "v1 hello"
        await yard.field.reaches("orders", "Running")
        assert len(elsewhere.labelled(namespace=yard.namespace)) == 1
