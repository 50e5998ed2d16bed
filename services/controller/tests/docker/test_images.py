"""Images that are not on the Docker host: pulled from a real registry, or told to be missing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker.errors import ImageNotFound
from structlog.testing import capture_logs

from nexthos_controller.execution import Execution
from nexthos_controller.executors.docker.daemon import Daemon
from nexthos_controller.executors.docker.images import Images
from nexthos_controller.executors.docker.settings import DockerSettings
from nexthos_shared.errors import StartFailed
from nexthos_shared.reasons import Reason
from nexthos_testing.docker import Hands
from nexthos_testing.docker_rig import DockerRig
from nexthos_testing.foreign import of_another_machine
from nexthos_testing.registry import Registry
from nexthos_testing.wait import eventually

# Small, so that the test is about pulling and not about bytes.
DOCKERFILE = "FROM scratch\nENV A=1\nCOPY file /file\n"


@pytest.fixture
def daemon(docker_daemon: None) -> Iterator[Daemon]:
    daemon = Daemon(DockerSettings())
    yield daemon
    daemon.close()


@pytest.fixture
def hands(docker_daemon: None) -> Iterator[Hands]:
    hands = Hands()
    yield hands
    hands.close()


def push(hands: Hands, name: str, folder: Path) -> None:
    """Build a small image, push it, and forget it here."""
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "file").write_bytes(name.encode())
    built = list(hands.api.build(path=str(folder), tag=name, decode=True, rm=True))
    assert not any("error" in item for item in built), built
    pushed = list(hands.api.push(name, stream=True, decode=True))
    assert not any("error" in item for item in pushed), pushed
    hands.api.remove_image(name, force=True)


async def test_a_missing_image_is_pulled_once_for_all_who_need_it_and_named_by_its_digest(
    daemon: Daemon, hands: Hands, tmp_path: Path
) -> None:
    async with Registry(tmp_path / "registry") as registry:
        name = f"{registry.host}/nexthos/small:1"
        build = tmp_path / "build"
        build.mkdir()
        await asyncio.to_thread(push, hands, name, build)
        images = Images(daemon, pull=True)
        with capture_logs() as said:
            found = await asyncio.gather(*(images.have(name) for _ in range(5)))
        assert [e["event"] for e in said] == ["pulling an image", "pulled an image"]
        assert len(set(found)) == 1
        assert found[0].reference.startswith(f"{registry.host}/nexthos/small@sha256:")
        assert "A=1" in found[0].env
        assert images.ids == {name: found[0].id}
        await asyncio.to_thread(hands.api.remove_image, name, force=True)
        await images.refresh()
        assert images.ids == {}
        await images.close()


@pytest.mark.fault(44)
async def test_an_image_that_can_not_be_had_is_a_temporary_problem_and_comes_when_it_is_there(
    daemon: Daemon, hands: Hands, tmp_path: Path
) -> None:
    async with Registry(tmp_path / "registry") as registry:
        name = f"{registry.host}/nexthos/later:1"
        build = tmp_path / "build"
        build.mkdir()
        images = Images(daemon, pull=True)
        with pytest.raises(StartFailed) as error:
            await images.have(name)
        assert error.value.problem.reason is Reason.IMAGE_MISSING
        assert str(error.value).startswith(f"image {name} is not on the Docker host")
        assert "build or pull it there, or correct engines.<name>.image" in str(error.value)
        await asyncio.to_thread(push, hands, name, build)
        assert (await images.have(name)).id
        await asyncio.to_thread(hands.api.remove_image, name, force=True)
    with pytest.raises(StartFailed) as error:  # the registry is down
        await images.have(name)
    assert "can't be pulled" in str(error.value)
    await images.close()


async def test_where_nothing_may_be_pulled_nothing_is_asked_for(
    daemon: Daemon, hands: Hands
) -> None:
    images = Images(daemon, pull=False)
    with pytest.raises(StartFailed) as error:
        await images.have("nexthos/is-nowhere:1")
    assert "executors.docker.pull is `never`" in str(error.value)
    with pytest.raises(ImageNotFound):
        hands.api.inspect_image("nexthos/is-nowhere:1")


@pytest.mark.fault(147)
@pytest.mark.parametrize("entrypoint", ["/foreign", "/nowhere"])
async def test_an_image_whose_entrypoint_can_not_be_run_is_named(
    docker_rig: DockerRig, tmp_path: Path, entrypoint: str
) -> None:
    rig = docker_rig
    rig.images["default"] = name = f"nexthos-test/foreign:{tmp_path.name}"
    build = tmp_path / "build"
    build.mkdir()
    (build / "Dockerfile").write_text(
        f'FROM scratch\nCOPY foreign /\nENTRYPOINT ["{entrypoint}"]\n'
    )
    of_another_machine(build / "foreign")
    api = rig.hands.api
    built = list(api.build(path=str(build), tag=name, decode=True, rm=True))
    assert not any("error" in item for item in built), built
    try:
        await rig.executor.start(rig.spec(), 0)

        async def ended() -> Execution | None:
            seen = await rig.seen(rig.spec())
            return seen if seen.exit is not None else None

        seen = await eventually(ended)
        assert seen.exit.problem.reason is Reason.ENGINE_MISSING
        assert f"image {name}: its entrypoint can't be run" in seen.exit.problem.message
        await rig.executor.remove(seen)
    finally:
        api.remove_image(name, force=True)
