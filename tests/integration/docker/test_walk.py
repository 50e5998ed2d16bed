"""A pipeline put into NATS runs in a container, changes, pauses and goes: judged by messages and Docker."""

from __future__ import annotations

import pytest

from nexthos_testing.dockyard import Dockyard
from nexthos_testing.wait import eventually


async def test_published_it_runs_in_one_hardened_container_and_messages_flow(
    yard: Dockyard,
) -> None:
    await yard.runs("orders", resources={"memory": "96Mi", "cpu": 0.5})
    container = yard.one("orders")
    config, host = container["Config"], container["HostConfig"]
    assert container["State"]["Running"]
    assert container["Name"].startswith(f"/{yard.namespace}-orders-0-")
    assert config["User"] == "10001:10001"
    assert (host["ReadonlyRootfs"], host["Init"], host["Privileged"]) == (True, True, False)
    assert (host["CapDrop"], host["CapAdd"]) == (["ALL"], None)
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert (host["Memory"], host["MemorySwap"]) == (96 * 2**20, 96 * 2**20)
    assert (host["NanoCpus"], host["PidsLimit"]) == (500_000_000, 256)
    assert host["RestartPolicy"]["Name"] == "no"
    assert (host["PidMode"], host["IpcMode"], host["NetworkMode"]) == ("", "private", "bridge")
    assert [(m["Type"], m["Destination"]) for m in container["Mounts"]] == [
        ("volume", "/run/nexthos")
    ]

    # and from inside
    script = (
        "cat /proc/self/status; echo x > /usr/x; echo x > /run/nexthos/x && echo wrote;"
        " tr '\\0' '\\n' < /proc/1/cmdline; ls -ln /run/nexthos"
    )
    made = yard.hands.api.exec_create(container["Id"], ["sh", "-c", script])
    seen = yard.hands.api.exec_start(made["Id"]).decode()
    assert "Uid:\t10001\t10001\t10001\t10001" in seen
    assert "CapEff:\t0000000000000000" in seen
    assert "CapBnd:\t0000000000000000" in seen
    assert "NoNewPrivs:\t1" in seen
    assert "Read-only file system" in seen
    assert "wrote" in seen
    assert "docker-init" in seen
    assert "-rw------- 1 10001 10001" in seen


async def test_paused_stops_and_keeps_and_published_runs_the_same_container(
    yard: Dockyard,
) -> None:
    container = await yard.runs("orders")
    await yard.field.put("orders", "paused")
    await yard.field.reaches("orders", "Paused")
    assert await yard.field.is_silent("orders")
    kept = yard.one("orders")
    assert (kept["Id"], kept["State"]["Status"]) == (container, "exited")
    await yard.field.put("orders")
    assert await yard.field.says("orders") == "v1 hello"
    again = yard.one("orders")
    assert (again["Id"], again["State"]["Running"]) == (container, True)
    assert (await yard.field.reaches("orders", "Running")).restarts == 0


async def test_a_new_version_replaces_the_container(yard: Dockyard) -> None:
    old = await yard.runs("orders")
    [volume] = yard.hands.volumes_of(old)
    new = await yard.runs("orders", "v2", "2")
    assert new != old
    assert (yard.hands.named(old), yard.hands.has_volume(volume)) == (None, False)


@pytest.mark.parametrize("end", ["draft", "delete"])
async def test_draft_or_deletion_leaves_no_container_volume_network_or_file(
    yard: Dockyard, end: str
) -> None:
    before = sorted(yard.controller.state_dir.rglob("*"))
    container = await yard.runs("orders")
    [volume] = yard.hands.volumes_of(container)
    if end == "draft":
        await yard.field.put("orders", "draft")
        status = await yard.field.reaches("orders", "Draft")
        assert (status.executions, status.memory.slots) == ([], {})
    else:
        await yard.field.delete("orders")
        await yard.gone("orders")
    assert (yard.containers("orders"), yard.left("orders")) == ([], [])
    assert not yard.hands.has_volume(volume)
    assert sorted(yard.controller.state_dir.rglob("*")) == before
    assert await yard.field.is_silent("orders")


async def test_replicas_are_containers_that_share_the_work(yard: Dockyard) -> None:
    await yard.field.echo("orders")
    await yard.field.put("orders", replicas=3)
    status = await yard.field.reaches("orders", "Running")
    assert (status.ready, len(yard.running("orders"))) == (3, 3)
    await yard.field.put("orders", replicas=1)
    await eventually(lambda: len(yard.containers("orders")) == 1)
    assert await yard.field.says("orders") == "v1 hello"


async def test_a_rolling_update_is_never_silent(yard: Dockyard) -> None:
    rolling = {"strategy": "rolling"}
    old = await yard.runs("orders", update=rolling)
    await yard.field.echo("orders", "v2", "2")
    await yard.field.put("orders", version="2", update=rolling)
    said = set()
    while "v2 hello" not in said:
        said.add(await yard.field.says("orders", within=10.0))
        assert yard.running("orders")
    await eventually(lambda: yard.hands.named(old) is None)
    assert said <= {"v1 hello", "v2 hello"}
