"""What can't be run as asked: refused or waited for by name, while the old version runs on."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from docker.errors import ImageNotFound

from nexthos_shared.names import digest_of
from nexthos_shared.reasons import Reason
from nexthos_testing.docker import RUNNER
from nexthos_testing.dockyard import Dockyard, dockyard, impatient_image, write_settings
from nexthos_testing.nats import NatsServer, free_port
from nexthos_testing.wait import eventually

NOWHERE = "127.0.0.1:1/nexthos/nowhere"  # a registry that refuses connections


@pytest.mark.fault(45)
async def test_another_digest_than_the_entry_pins_is_refused_and_the_old_one_runs_on(
    yard: Dockyard,
) -> None:
    container = await yard.runs("orders")
    await yard.field.echo("orders", "v2", "2")
    wrong = digest_of(b"other bytes")
    await yard.field.put("orders", version="2", digest=wrong)
    status = await yard.field.complains("orders", Reason.DIGEST_MISMATCH)
    assert (str(status.phase), status.version) == ("Running", "1")
    assert await yard.field.says("orders") == "v1 hello"
    right = digest_of(yard.field.echo_text("orders", "v2").encode())
    assert yard.one("orders")["Id"] == container
    await yard.field.put("orders", version="2", digest=right)
    await yard.field.until_it_says("orders", "v2 hello")


@pytest.mark.fault(87)
async def test_a_missing_object_is_named_makes_no_container_and_starts_when_it_arrives(
    yard: Dockyard,
) -> None:
    await yard.field.put("orders")
    status = await yard.field.reaches("orders", "Invalid")
    assert status.complaint is not None
    assert status.complaint.reason is Reason.CONFIG_MISSING
    assert yard.containers() == []
    await yard.field.echo("orders")
    assert await yard.field.says("orders") == "v1 hello"


@pytest.mark.fault(48)
async def test_what_lint_refuses_is_named_by_line_and_no_container_is_left(yard: Dockyard) -> None:
    await yard.field.config("orders", "input:\n  stdin: {}\n  colour: red\noutput: {drop: {}}\n")
    await yard.field.put("orders")
    status = await yard.field.reaches("orders", "Invalid")
    assert status.complaint is not None
    assert (status.complaint.reason, status.complaint.line) == (Reason.LINT_FAILED, 3)
    assert yard.containers() == []


@pytest.mark.fault(86)
@pytest.mark.parametrize("how", ["crashed", "resumed"])
async def test_overwritten_and_then_begun_again_it_has_the_bytes_that_it_had(
    yard: Dockyard, how: str
) -> None:
    container = await yard.runs("orders")
    await yard.field.echo("orders", "overwritten", "1")
    await yard.field.complains("orders", Reason.CONFIG_CHANGED)
    if how == "crashed":
        yard.hands.kill(container)
        await yard.field.restarted("orders", 1)
    else:
        await yard.field.put("orders", "paused")
        await yard.field.reaches("orders", "Paused")
        await yard.field.put("orders")
        await yard.field.reaches("orders", "Running")
    assert yard.one("orders")["Id"] == container
    assert await yard.field.says("orders") == "v1 hello"
    await yard.field.complains("orders", Reason.CONFIG_CHANGED)


@pytest.mark.fault(86)
async def test_overwritten_and_then_removed_by_hand_the_new_bytes_never_run_as_the_old_version(
    yard: Dockyard,
) -> None:
    container = await yard.runs("orders")
    await yard.field.echo("orders", "overwritten", "1")
    await yard.field.complains("orders", Reason.CONFIG_CHANGED)
    yard.hands.api.remove_container(container, force=True, v=True)

    async def told() -> bool:
        status = await yard.field.status("orders")
        progress = [c.reason for c in status.conditions] if status else []
        return bool(status and status.drifts == 1 and progress.count(Reason.CONFIG_CHANGED) >= 2)

    await eventually(told, within=15.0)
    assert await yard.field.is_silent("orders")
    await yard.field.echo("orders", "v1", "1")  # the bytes that were pinned are back
    assert await yard.field.says("orders", within=20.0) == "v1 hello"


# ---- the store, as the runner finds it


@pytest.mark.fault(67)
async def test_a_store_that_a_container_does_not_reach_is_told(
    open_nats: NatsServer, namespace: str, tmp_path: Path
) -> None:
    async with dockyard(open_nats, namespace, tmp_path) as yard:
        url = f"nats://{yard.hands.gateway()}:{open_nats.port}"
        away = {"store": {"url": f"nats://{yard.hands.gateway()}:{free_port()}"}}
        write_settings(yard.settings, url, away, engines={"default": {"image": impatient_image()}})
        await yard.begins_again()
        await yard.field.echo("orders")
        await yard.field.put("orders")
        await yard.ended_for("orders", Reason.STORE_UNAVAILABLE)
        assert yard.one("orders")["State"]["ExitCode"] == 69
        write_settings(yard.settings, url)
        await yard.begins_again()
        await yard.field.put("orders", restart_nonce=1)
        assert await yard.field.says("orders") == "v1 hello"


async def test_a_store_that_is_the_container_itself_is_refused_with_how_to_name_it(
    open_nats: NatsServer, namespace: str, tmp_path: Path
) -> None:
    async with dockyard(open_nats, namespace, tmp_path) as yard:
        write_settings(yard.settings, f"nats://127.0.0.1:{open_nats.port}")
        await yard.begins_again()
        await yard.field.echo("orders")
        revision = await yard.field.put("orders")
        assert "connections.default.url" in await refused(yard, "orders", revision)
        assert yard.containers() == []


@pytest.mark.fault(67)
async def test_nats_that_goes_while_a_container_starts_is_waited_for(
    docker_daemon: None, namespace: str, tmp_path: Path
) -> None:
    async with (
        NatsServer(tmp_path / "nats", host="0.0.0.0") as server,
        dockyard(server, namespace, tmp_path) as yard,
    ):
        await yard.dies_at("docker.started")
        server_is_needed = yard.field.echo_text("orders")
        await yard.field.config("orders", server_is_needed)
        await yard.field.put("orders")
        await yard.died()
        [container] = yard.containers()
        yard.hands.kill(container["Id"])
        await server.kill()
        yard.hands.api.start(container["Id"])  # kept bytes or none: nobody answers it
        await server.start()
        await yard.controller.start()
        assert await yard.field.says("orders", within=30.0) == "v1 hello"


# ---- images


@pytest.fixture
def away_image(namespace: str) -> str:
    return f"{NOWHERE}:{namespace}"


@pytest.mark.fault(44)
async def test_an_image_that_can_not_be_had_is_told_waited_for_and_the_old_version_runs_on(
    open_nats: NatsServer, namespace: str, tmp_path: Path, away_image: str
) -> None:
    async with dockyard(open_nats, namespace, tmp_path) as yard:
        url = f"nats://{yard.hands.gateway()}:{open_nats.port}"
        engines = {"default": {"image": RUNNER}, "other": {"image": away_image}}
        write_settings(yard.settings, url, engines=engines)
        await yard.begins_again()
        container = await yard.runs("orders")
        await yard.field.echo("orders", "v2", "2")
        await yard.field.put("orders", version="2", engine="other")

        async def told() -> Any:
            status = await yard.field.status("orders")
            found = (
                [c for c in status.conditions if c.reason is Reason.IMAGE_MISSING] if status else []
            )
            return (status, found[0]) if status and found else None

        status, condition = await eventually(told)
        assert away_image in condition.message
        assert await yard.field.says("orders") == "v1 hello"
        assert yard.running("orders")[0]["Id"] == container
        assert status.restarts == 0
        try:
            assert yard.hands.api.tag(RUNNER, NOWHERE, namespace)
            await yard.field.until_it_says("orders", "v2 hello", within=30.0)
            await yard.field.delete("orders")
            await yard.gone("orders")
        finally:
            yard.hands.api.remove_image(away_image)
    with pytest.raises(ImageNotFound):
        yard.hands.api.inspect_image(away_image)


# ---- executor_options


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"ports": ["8080:8080"]}, "executors.docker.ports"),
    ({"volumes": ["data:/data"]}, "executors.docker.volumes"),
    ({"privileged": True}, "no such option"),
]


async def test_options_that_the_settings_do_not_allow_are_refused_by_name(yard: Dockyard) -> None:
    container = await yard.runs("orders")
    for options, words in REFUSED:
        revision = await yard.field.put("orders", executor_options=options)
        status = await refused(yard, "orders", revision)
        assert f"executor_options.{next(iter(options))}" in status
        assert words in status
    assert yard.one("orders")["Id"] == container
    assert await yard.field.says("orders") == "v1 hello"


async def refused(yard: Dockyard, key: str, revision: int) -> str:
    """Wait until that revision is refused for what can't be done here; the words."""

    async def told() -> str:
        status = await yard.field.status(key)
        if status is None or status.observed_revision != revision or not status.complaint:
            return ""
        found = status.complaint
        return found.message if found.reason is Reason.CANNOT_RUN_HERE else ""

    return str(await eventually(told))


@pytest.fixture
async def allowing(
    open_nats: NatsServer, namespace: str, tmp_path: Path
) -> AsyncIterator[Dockyard]:
    """Ports and volumes are allowed, and host paths below one folder."""
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    settings = {
        "volumes": {
            "names": [f"{namespace}-*"],
            "roots": [str(shared)],
            "targets": ["/data", "/in"],
        },
        "ports": {"addresses": ["127.0.0.1"], "ranges": ["1024-65535"]},
    }
    async with dockyard(open_nats, namespace, tmp_path, settings) as there:
        yield there


OUTSIDE = [
    "/var/run/docker.sock:/var/run/docker.sock",
    "/:/host",
    "/etc:/etc2:ro",
    "{root}/../../etc:/data:ro",
    "{root}/docker.sock:/data:ro",
    "{root}:/data",
    "{root}:/run/nexthos:ro",
    "{root}:/run:ro",
    "{root}:/opt/nexthos:ro",
    "{root}://opt//nexthos/:ro",
    "nexthos_nats-data:/data",
    "nexthos_controller-state:/data",
]


@pytest.mark.fault(94)
async def test_the_socket_and_volumes_that_are_not_listed_are_refused(
    allowing: Dockyard, tmp_path: Path
) -> None:
    await allowing.field.echo("orders")
    for volume in OUTSIDE:
        volumes = [volume.format(root=tmp_path / "shared")]
        revision = await allowing.field.put("orders", executor_options={"volumes": volumes})
        assert volumes[0] in await refused(allowing, "orders", revision)
    assert allowing.containers() == []


SERVER = """\
input: {{http_server: {{address: "0.0.0.0:8080", path: /post}}}}
output: {{nats: {{urls: ["${{NATS_URL}}"], subject: {outlet}}}}}
"""


async def test_a_published_port_answers(allowing: Dockyard) -> None:
    port = free_port()
    heard = await allowing.field.nc.subscribe(allowing.field.outlet("web"))
    await allowing.field.config("web", SERVER.format(outlet=allowing.field.outlet("web")))
    await allowing.field.put("web", executor_options={"ports": [f"127.0.0.1:{port}:8080"]})
    await allowing.field.reaches("web", "Running")
    url = f"http://127.0.0.1:{port}/post"

    def post() -> int:
        with urllib.request.urlopen(url, b"over http", timeout=10.0) as answer:
            return int(answer.status)

    assert await asyncio.to_thread(post) == 200
    assert (await heard.next_msg(timeout=10.0)).data == b"over http"


async def test_a_published_port_is_one_containers_at_a_time(allowing: Dockyard) -> None:
    ports = {"ports": [f"127.0.0.1:{free_port()}:8080"]}
    await allowing.field.echo("web")
    more: list[dict[str, Any]] = [{"replicas": 2}, {"update": {"strategy": "rolling"}}]
    for field in more:
        revision = await allowing.field.put("web", executor_options=ports, **field)
        assert "executor_options.ports: one container" in await refused(allowing, "web", revision)
    assert allowing.containers() == []
    await allowing.runs("web", executor_options=ports)


READER = """\
input: {{file: {{paths: ["/in/lines"], codec: lines}}}}
output: {{nats: {{urls: ["${{NATS_URL}}"], subject: {outlet}}}}}
"""


async def test_a_named_volume_and_a_path_below_a_root_are_there(
    allowing: Dockyard, tmp_path: Path
) -> None:
    (tmp_path / "shared" / "lines").write_text("from the host\n")
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o055)  # pytest's folders are its own user's
    heard = await allowing.field.nc.subscribe(allowing.field.outlet("load"))
    await allowing.field.config("load", READER.format(outlet=allowing.field.outlet("load")))
    name = f"{allowing.namespace}-data"
    volumes = [f"{name}:/data", f"{tmp_path}/shared:/in:ro"]
    await allowing.field.put("load", lifecycle="job", executor_options={"volumes": volumes})
    await allowing.field.reaches("load", "Completed")
    assert (await heard.next_msg(timeout=10.0)).data == b"from the host"
    mounts = {m["Destination"]: m for m in allowing.one("load")["Mounts"]}
    assert (mounts["/data"]["Name"], mounts["/data"]["RW"]) == (name, True)
    assert mounts["/in"]["RW"] is False
    await allowing.field.delete("load")
    await allowing.gone("load")
    assert allowing.hands.has_volume(name)  # it is the user's
