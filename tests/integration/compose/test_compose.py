"""`docker compose up`, then pipelines: seen from outside, as its user sees it."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.request import urlopen

import pytest
from tests.integration.compose.conftest import Project

from nexthos_testing.docker import Hands
from nexthos_testing.field import Field, field_of
from nexthos_testing.wait import eventually

pytestmark = pytest.mark.timeout(180)


def executions(hands: Hands, key: str) -> list[dict[str, Any]]:
    """In full, in whatever state."""
    found = (hands.named(c["Id"]) for c in hands.labelled(namespace="nexthos", pipeline=key))
    return [c for c in found if c is not None]


def test_up_ends_healthy_and_the_controller_is_no_root(composed: Project, hands: Hands) -> None:
    services = [
        json.loads(line) for line in composed.compose("ps", "--format", "json").splitlines()
    ]
    assert {(s["Service"], s["Health"]) for s in services} == {
        ("nats", "healthy"),
        ("controller", "healthy"),
    }
    found = hands.named(composed.container("controller"))
    assert found is not None
    assert found["Config"]["User"].split(":")[0] not in ("", "0", "root")
    assert found["HostConfig"]["ReadonlyRootfs"] is True
    assert found["HostConfig"]["CapDrop"] == ["ALL"]
    with urlopen(f"{composed.http}/readyz", timeout=5) as answer:
        assert answer.status == 200


async def test_a_raw_object_and_a_raw_entry_become_a_hardened_container_that_works(
    composed: Project, field: Field, hands: Hands
) -> None:
    await field.echo("raw", "v1")
    await field.put("raw")
    await field.until_it_says("raw", "v1 hello", within=30.0)
    [container] = executions(hands, "raw")
    host, config = container["HostConfig"], container["Config"]
    assert config["User"] == "10001:10001"
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["Privileged"]) == (True, ["ALL"], False)
    assert "no-new-privileges" in host["SecurityOpt"]
    await field.delete("raw")
    await eventually(lambda: not executions(hands, "raw"), within=30.0)


async def test_the_examples_apply_themselves_and_messages_flow(
    composed: Project, field: Field, hands: Hands
) -> None:
    heard: list[dict[str, Any]] = []

    async def hear(message: Any) -> None:
        heard.append(json.loads(message.data))

    await field.nc.subscribe("example.tock", cb=hear)
    said = await asyncio.to_thread(
        composed.compose, "--profile", "examples", "run", "--rm", "examples"
    )
    assert "tick" in said
    await eventually(lambda: len(heard) >= 2, within=30.0)
    assert heard[-1]["tock"] > heard[0]["tock"]
    for key in ("tick", "tock"):
        assert len(executions(hands, key)) == 1
        await composed.did("rm", key, "-y", "--wait")
        assert executions(hands, key) == []


async def test_apply_pause_publish_logs_and_delete_from_the_host(
    composed: Project, field: Field, hands: Hands
) -> None:
    await walk(composed, field, hands, "walker")


async def walk(project: Project, field: Field, hands: Hands, key: str) -> None:
    """Everything that a pipeline goes through, by the CLI, judged by containers and messages."""
    await field.echo(key, "v1", "1")
    await field.echo(key, "v2", "2")
    await field.put(key, "draft")
    await project.did("publish", key, "--wait")
    await field.until_it_says(key, "v1 hello")
    [first] = executions(hands, key)
    assert "is now active" in await project.did("logs", key)
    await project.did("pause", key, "--wait")
    [kept] = executions(hands, key)
    assert (kept["Id"], kept["State"]["Running"]) == (first["Id"], False)
    await project.did("publish", key, "--wait")
    await field.until_it_says(key, "v1 hello")
    assert [c["Id"] for c in executions(hands, key)] == [first["Id"]]
    await project.did("publish", key, "--version", "2", "--wait")
    await field.until_it_says(key, "v2 hello")
    await eventually(lambda: [c["Id"] != first["Id"] for c in executions(hands, key)] == [True])
    volumes = hands.volumes_of(executions(hands, key)[0]["Id"])
    assert volumes != []
    await project.did("rm", key, "-y", "--wait")
    assert executions(hands, key) == []
    assert not any(hands.has_volume(name) for name in volumes)


async def test_the_micro_service_answers_from_outside(composed: Project, field: Field) -> None:
    reply = json.loads((await field.nc.request("nexthos.svc.status", b"", timeout=5.0)).data)
    assert reply["acts"] is True
    [docker] = [e for e in reply["executors"] if e["name"] == "docker"]
    assert docker["reachable"] is True
    assert "docker" in await composed.did("status")


@pytest.mark.fault(2)
async def test_a_killed_controller_adopts_ten_containers_and_restarts_none(
    composed: Project, field: Field, hands: Hands
) -> None:
    keys = [f"many-{number}" for number in range(10)]
    for key in keys:
        await field.echo(key, "v1")
        await field.put(key)
    for key in keys:
        await field.reaches(key, "Running", within=60.0)

    def lives() -> dict[str, str]:
        found = [c for key in keys for c in executions(hands, key)]
        return {c["Id"]: c["State"]["StartedAt"] for c in found if c["State"]["Running"]}

    before = lives()
    assert len(before) == 10
    controller = composed.container("controller")
    hands.kill(controller)
    await field.put(keys[0], status="draft")  # while nobody looks
    await asyncio.to_thread(composed.compose, "up", "--detach", "--wait", "controller")
    await eventually(lambda: not executions(hands, keys[0]), within=30.0)
    after = lives()
    assert len(after) == 9
    assert after.items() <= before.items()
    for key in keys[1:]:
        status = await field.status(key)
        assert status is not None
        assert status.restarts == 0
        await field.until_it_says(key, "v1 hello")
    await composed.did("rm", *keys, "-y", "--wait")


async def test_with_a_proxy_before_the_socket_everything_goes_on_and_nothing_else_does(
    proxied: Project, hands: Hands
) -> None:
    found = hands.named(proxied.container("controller"))
    assert found is not None
    assert not any("docker.sock" in m["Source"] for m in found["Mounts"])
    async with field_of(proxied.url, "nexthos") as field:
        await walk(proxied, field, hands, "by-proxy")
    ask = (
        "import docker; api = docker.from_env().api; "
        "made = api.create_container('nexthos/runner:dev', 'x', "
        "host_config=api.create_host_config(privileged=True))"
    )
    inside = ("docker", "exec", proxied.container("controller"), "/opt/nexthos/bin/python", "-c")
    refused = await asyncio.create_subprocess_exec(*inside, ask, stderr=asyncio.subprocess.PIPE)
    _, words = await refused.communicate()
    assert refused.returncode != 0
    assert b"403" in words


async def test_clean_ends_what_pipelines_run_so_that_down_leaves_nothing(
    composed: Project, field: Field, hands: Hands
) -> None:
    await field.echo("left", "v1")
    await field.put("left")
    await field.until_it_says("left", "v1 hello", within=30.0)
    assert len(executions(hands, "left")) == 1
    await asyncio.to_thread(composed.compose, "run", "--rm", "clean")
    assert executions(hands, "left") == []
